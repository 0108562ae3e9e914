"""Bodies of requests: bounded fields, and errors as one line.

Every field of a body has a finite range. Unknown keys are ignored, because each client sends some
of its own. This module must not know what the fields are for.
"""

import json
import math
import re
from collections.abc import Sequence
from typing import Annotated, Any, TypedDict, TypeVar

import pydantic_core
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from codeling.serving.protocol.query import DEFAULT_NEW_TOKENS, Prompt, RequestError

MAX_CHARACTERS = 1 << 20
"""Of one text. A body is limited as a whole as well."""
MAX_COUNT = 1 << 31
"""Of a number that the server reduces to its own limit."""
MAX_N = 16
MAX_PROMPTS = 64
MAX_STOPS = 64
MAX_IDS = 1 << 16
MAX_FILES = 1024
"""Files beside the open one in a body. The memory bounds how much of them it reads."""
MAX_LOGPROBS = 20
MAX_TEMPERATURE = 100.0
_LEAST_TOP_P = 1e-9
_SEED_BITS = 63


def _whole(value: object) -> object:
    """A float without a fraction as an integer, which it is in JSON."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
"""Reads 1.0 as 1; put after the limits of a field."""
Text = Annotated[str, StringConstraints(max_length=MAX_CHARACTERS)]
Name = Annotated[str, StringConstraints(max_length=256)]
FilePath = Annotated[str, StringConstraints(max_length=4096)]
Stop = Annotated[str, StringConstraints(max_length=1024)]
Stops = Annotated[list[Stop], Field(max_length=MAX_STOPS)]
TokenIds = Annotated[
    list[Annotated[int, Field(ge=0, lt=MAX_COUNT), WHOLE]], Field(max_length=MAX_IDS)
]
Temperature = Annotated[float, Field(ge=0, le=MAX_TEMPERATURE)]
Probability = Annotated[float, Field(ge=0, le=1)]
Number = Annotated[int, Field(ge=-1, le=MAX_COUNT), WHOLE]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT), WHOLE]
Choices = Annotated[int, Field(ge=1, le=MAX_N), WHOLE]
Seed = Annotated[int, Field(ge=-(1 << _SEED_BITS), lt=1 << (_SEED_BITS + 1)), WHOLE]

_INFILLING = re.compile(
    r"(?:<\|endoftext\|>)?<fim_prefix>(?P<prefix>.*)<fim_suffix>(?P<suffix>.*)<fim_middle>",
    re.DOTALL,
)


class Body(BaseModel):
    """Base of all bodies."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="ignore", allow_inf_nan=False, protected_namespaces=()
    )


class SamplingBody(Body):
    """The fields of sampling that dialects share."""

    temperature: Temperature | None = None
    top_p: Probability | None = None
    stop: Stop | Stops | None = None
    seed: Seed | None = None


class Sampling(TypedDict):
    """The same as arguments of a query."""

    temperature: float | None
    top_k: int | None
    top_p: float | None
    stop: tuple[str, ...]
    seed: int | None


_Body = TypeVar("_Body", bound=Body)


def parse_json(body: bytes) -> dict[str, Any]:
    """The object that ``body`` contains.

    :raises RequestError: it is not JSON, too deeply nested, or another value than an object.
    """
    try:
        value = pydantic_core.from_json(body, allow_inf_nan=False)
    except ValueError as error:
        if _has_lone_surrogate(body):
            raise RequestError(400, "the body has a lone surrogate, which is not text") from error
        raise RequestError(400, f"the body is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise RequestError(400, f"the body must be a JSON object, not {_kind(value)}")
    return value


def read(kind: type[_Body], body: dict[str, Any]) -> _Body:
    """Check ``body``. :raises RequestError: a value is missing, out of range or of a wrong type."""
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        raise RequestError(400, _explained(found, body)) from error


def _explained(errors: Sequence[Any], body: dict[str, Any]) -> str:
    """The first field that is wrong, and what it may be.

    A field with several types has an error for each, with the type's internal name in its place.
    The type that fits longest counts; of equal ones, one whose limit is broken, or else all.
    """
    field = errors[0]["loc"][:1]
    errors = [each for each in errors if each["loc"][:1] == field]
    places = [_place(each["loc"], body) for each in errors]
    deepest = max(places, key=lambda place: (len(place), place[1:]))
    at_deepest = [each for each, place in zip(errors, places, strict=True) if place == deepest]
    limits = [each for each in at_deepest if not each["type"].endswith("_type")]
    messages = dict.fromkeys(each["msg"] for each in limits[:1] or at_deepest)
    first, *others = messages
    message = " or ".join([first, *(each.removeprefix("Input should be ") for each in others)])
    return f"{'.'.join(map(str, deepest)) or 'body'}: {message}"


def _place(location: Sequence[Any], body: dict[str, Any]) -> tuple[Any, ...]:
    """The parts of ``location`` that are keys and indices of ``body``, and not names of types."""
    place: list[Any] = []
    value: Any = body
    for index, part in enumerate(location):
        is_index = isinstance(part, int) and isinstance(value, list)
        if is_index or (isinstance(value, dict) and part in value):
            value = value[part]
            place.append(part)
        elif isinstance(value, dict) and index == len(location) - 1:  # it is missing
            place.append(part)
    return tuple(place)


def _has_lone_surrogate(body: bytes) -> bool:
    """Whether ``body`` is JSON except for half a character, such as ``"\\ud800"``."""
    try:
        json.dumps(json.loads(body), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    except (ValueError, RecursionError):
        pass
    return False


def split_markers(text: str) -> Prompt:
    """A prompt with StarCoder's infilling tokens in its text, or a prompt to be continued."""
    match = _INFILLING.fullmatch(text)
    if match is None:
        return Prompt(text)
    return Prompt(match["prefix"], match["suffix"])


def stop_strings(stop: str | Sequence[str] | None) -> tuple[str, ...]:
    """The stop strings of a body; empty ones, which some clients send, are ignored."""
    given = (stop,) if isinstance(stop, str) else stop or ()
    return tuple(dict.fromkeys(each for each in given if each))


def sampling(asked: SamplingBody, top_k: int | None = None) -> Sampling:
    """The sampling of a body; not every dialect has ``top_k``."""
    return Sampling(
        temperature=asked.temperature,
        top_k=some(top_k),
        top_p=nucleus(asked.top_p),
        stop=stop_strings(asked.stop),
        seed=seed_of(asked.seed),
    )


def some(number: int | None) -> int | None:
    """A number that is None where a client writes -1 or 0 for "not set"."""
    return None if number is None or number < 1 else number


def nucleus(top_p: float | None) -> float | None:
    """Top p; 0 keeps only the most likely token."""
    return None if top_p is None else max(top_p, _LEAST_TOP_P)


def new_tokens(asked: int | None) -> int:
    """The maximum number of new tokens; a negative one means the default."""
    return DEFAULT_NEW_TOKENS if asked is None or asked < 0 else asked


def seed_of(seed: int | None) -> int | None:
    """A seed of the engine; a negative one means "any", which is the default."""
    return None if seed is None or seed < 0 else seed


def milliseconds(limit: int | None) -> float | None:
    """A time limit in seconds; a limit below 1 ms means none."""
    return None if limit is None or limit < 1 else limit / 1000


def rounded(value: float) -> float:
    """A figure for a client, to six decimals; never infinite."""
    return round(value, 6) if math.isfinite(value) else 0.0


def _kind(value: object) -> str:
    if value is None:
        return "null"
    return "an array" if isinstance(value, list) else f"a {type(value).__name__}"
