"""One request and its response: the body, the errors, the answer as a whole or as a stream.

Every answer is compact JSON on one line, because llama.vim looks for ``"content":"``. A client that
goes away cancels its work. This module must not know which routes there are.
"""

import asyncio
import json
import sys
import traceback
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from codeling.errors import CodelingError
from codeling.quantity import quantity
from codeling.serving.protocol import fields
from codeling.serving.protocol.dialect import Dialect, Json, error_body
from codeling.serving.protocol.query import (
    Answer,
    Choice,
    Query,
    RequestError,
    ServedModel,
    TextPiece,
)
from codeling.serving.service import Service

RECORD = "codeling.record"
"""Key of the :class:`Record` in a request's scope."""

_MEDIA_TYPES = {"ndjson": "application/x-ndjson"}
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_Result = TypeVar("_Result")


@dataclass
class Record:
    """The facts about a request, for the log."""

    query: Query | None = None
    answer: Answer | None = None
    message: str = ""


async def guarded(
    request: Request,
    response: Coroutine[Any, Any, Response],
    error_of: Callable[[int, str], Json],
) -> Response:
    """``response``, or the error that a dialect's clients understand."""
    try:
        return await response
    except CodelingError as error:
        request.scope[RECORD].message = str(error)
        return error_response(error, error_of)
    except ClientDisconnect:
        raise
    except Exception:  # a bug must not end the server, nor show its internals to a client
        traceback.print_exc(file=sys.stderr)
        request.scope[RECORD].message = "a bug in codeling; the traceback is above"
        return json_response(error_of(500, "a bug in codeling; its log has the details"), 500)


def error_response(
    error: CodelingError, error_of: Callable[[int, str], Json] = error_body
) -> Response:
    """The response for an error that was raised on purpose."""
    status = error.status if isinstance(error, RequestError) else 400
    seconds = error.retry_seconds if isinstance(error, RequestError) else None
    headers = None if seconds is None else {"Retry-After": str(seconds)}
    return json_response(error_of(status, " ".join(str(error).split())), status, headers)


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """``value`` as JSON without blanks."""
    return Response(_compact(value), status, headers, "application/json")


def _compact(value: Any) -> str:
    return _ENCODER.encode(value)


async def body_of(request: Request, service: Service) -> bytes:
    """The body. :raises RequestError: it is too large (413) or arrives too slowly (408)."""
    limits = service.limits
    too_large = RequestError(413, f"the body is above {quantity(limits.max_body_bytes, 'byte')}")

    async def receive() -> bytes:
        chunks, size = [], 0
        async for chunk in request.stream():
            chunks.append(chunk)
            size += len(chunk)
            if size > limits.max_body_bytes:
                raise too_large
        return b"".join(chunks)

    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length[:20]) > limits.max_body_bytes:
        raise too_large  # and nothing of it is read
    try:
        return await asyncio.wait_for(receive(), limits.body_seconds)
    except asyncio.TimeoutError as error:
        raise RequestError(
            408, f"the body did not arrive within {limits.body_seconds:.0f} s"
        ) from error


async def generated(
    request: Request,
    service: Service,
    model: ServedModel,
    dialect: Dialect,
    body: Json | None = None,
) -> Response:
    """Answer with completions, as a whole or as a stream."""
    if body is None:
        body = fields.parse_json(await body_of(request, service))
    query = dialect.parse(body)
    record = request.scope[RECORD]
    record.query = query
    identifier = uuid.uuid4().hex
    client = request.client.host if request.client else ""
    if not query.stream:
        record.answer = await unless_gone(request, service.complete(query, client))
        return json_response(dialect.answer(query, record.answer, model, identifier))
    events = service.stream(query, client)
    # Errors of admission need their own status, so the response starts with the first event.
    first = await unless_gone(request, anext(events))

    async def framed() -> AsyncGenerator[str, None]:
        async with aclosing(events):
            try:
                for item in _rendered(dialect, query, first, model, identifier):
                    yield _framed(dialect, item)
                async for event in events:
                    if isinstance(event, Answer):
                        record.answer = event
                    for item in _rendered(dialect, query, event, model, identifier):
                        yield _framed(dialect, item)
            except CodelingError as error:
                record.message = str(error)
                yield _framed(dialect, dialect.error(503, str(error)))
        if dialect.framing == "sse with [DONE]":
            yield "data: [DONE]\n\n"

    headers = {"Cache-Control": "no-cache"}
    return StreamingResponse(framed(), 200, headers, media_types(dialect)[-1])


def media_types(dialect: Dialect) -> tuple[str, str]:
    """Media types of a whole answer and of a stream."""
    return "application/json", _MEDIA_TYPES.get(dialect.framing, "text/event-stream")


def _rendered(
    dialect: Dialect,
    query: Query,
    event: TextPiece | Choice | Answer,
    model: ServedModel,
    identifier: str,
) -> list[Json]:
    if isinstance(event, Answer):
        return list(dialect.end(query, event, model, identifier))
    if isinstance(event, Choice):
        return [dialect.choice(query, event, model, identifier)]
    return [dialect.piece(query, event, model, identifier)]


def _framed(dialect: Dialect, value: Json) -> str:
    if dialect.framing == "ndjson":
        return f"{_compact(value)}\n"
    return f"data: {_compact(value)}\n\n"


async def unless_gone(request: Request, work: Awaitable[_Result]) -> _Result:
    """The result of ``work``, which is cancelled if the client goes away.

    :raises ClientDisconnect: the client is gone.
    """

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    task, waiting = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientDisconnect
    finally:
        waiting.cancel()
        if not task.done():
            task.cancel()
        await asyncio.gather(task, waiting, return_exceptions=True)
