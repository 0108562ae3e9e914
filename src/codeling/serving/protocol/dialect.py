"""The interface of a dialect: from a body to a query, and from an answer to a body."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from codeling.serving.protocol.fields import Body
from codeling.serving.protocol.query import Answer, Choice, Query, ServedModel, TextPiece

Json = dict[str, Any]


def never_streamed(query: Query, part: Any, model: ServedModel, identifier: str) -> Json:
    """:attr:`Dialect.piece` and :attr:`Dialect.choice` of a dialect without streams."""
    raise AssertionError("completions of this dialect are not streamed")


def nothing_more(query: Query, answer: Answer, model: ServedModel, identifier: str) -> list[Json]:
    """:attr:`Dialect.end` of a dialect whose last event is the end of a completion."""
    return []


def error_body(status: int, message: str) -> Json:
    """An error in the keys of OpenAI and llama.cpp."""
    kinds = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"code": status, "message": message, "type": kind, "param": None}}


@dataclass(frozen=True)
class Dialect:
    """The functions of one dialect's route. ``identifier`` names one request in its answers."""

    name: str
    body: type[Body]
    """The fields of a request."""
    parse: Callable[[Json], Query]
    """Body to query. :raises RequestError: the body is invalid."""
    answer: Callable[[Query, Answer, ServedModel, str], Any]
    """The whole answer."""
    piece: Callable[[Query, TextPiece, ServedModel, str], Json] = never_streamed
    """An event of a stream: more text."""
    choice: Callable[[Query, Choice, ServedModel, str], Json] = never_streamed
    """An event of a stream: the end of one completion."""
    end: Callable[[Query, Answer, ServedModel, str], Iterable[Json]] = nothing_more
    """Events at the end of a stream."""
    framing: Literal["sse", "sse with [DONE]", "ndjson"] = "sse"
    """Separator of a stream's events."""
    error: Callable[[int, str], Json] = error_body
    """The body of an error with this HTTP status."""


def sources_of(choice: Choice) -> list[Json]:
    """Places where the memory saw parts of a completion, in order; empty if not requested."""
    return [
        {
            "text": span.text,
            "source": span.source,
            "path": span.path,
            "start_line": span.start_line,
            "end_line": span.end_line,
            "share": round(span.share, 4),
        }
        for span in (choice.details.spans if choice.details else ())
    ]
