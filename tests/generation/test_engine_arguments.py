"""Arguments that an engine refuses, each with one clear line."""

from typing import Any

import pytest

from codeling.errors import UsageError
from codeling.generation.engine import Engine


@pytest.mark.parametrize(
    "options, message",
    [
        ({"max_new_tokens": 0}, "max_new_tokens must be 1 or more"),
        ({"stop": ["a", ""]}, "a stop string must not be empty"),
        ({"stop": ""}, "a stop string must not be empty"),
        ({"temperature": -1.0}, "temperature must be a finite number of 0 or more"),
        ({"n": 0}, "n must be 1 or more"),
        ({"suffixes": ["a", "b"]}, "1 prompt, but 2 suffixes"),
        ({"first_samples": [0, 1]}, "1 prompt, but 2 first_samples"),
        ({"n": 2.5}, "n must be an integer, not 2.5"),
        ({"n": "3"}, "n must be an integer, not '3'"),
        ({"batch_size": 2.0}, "batch_size must be an integer, not 2.0"),
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(
    engine: Engine, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        engine.complete_batch(["x"], **options)


def test_an_unknown_keyword_is_an_error(engine: Engine) -> None:
    with pytest.raises(TypeError, match="max_tokens"):
        engine.stream("x", max_tokens=3)  # type: ignore[call-arg]


def test_complete_refuses_n_and_names_complete_many(engine: Engine) -> None:
    with pytest.raises(UsageError, match="one completion; complete_many"):
        engine.complete("x", n=3)  # type: ignore[call-arg]
    assert len(engine.complete_many("x", 3, max_new_tokens=1)) == 3


@pytest.mark.parametrize("prompt, suffix", [(None, None), (b"x", None), ("x", 3), (["x"], None)])
def test_a_prompt_that_is_not_a_string_is_refused(engine: Engine, prompt: Any, suffix: Any) -> None:
    with pytest.raises(UsageError, match="must be a string, not"):
        engine.complete(prompt, suffix)
    with pytest.raises(UsageError, match="must be a string, not"):
        engine.stream(prompt, suffix)
