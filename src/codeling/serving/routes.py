"""The server's routes: from HTTP to a dialect, to the service, and back.

Every answer is compact JSON on one line, because llama.vim looks for ``"content":"``. A client that
goes away cancels its work.
"""

import asyncio
import json
import sys
import traceback
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from codeling.errors import CodelingError
from codeling.quantity import quantity
from codeling.serving.monitoring import CONTENT_TYPE, Monitoring
from codeling.serving.protocol import chat, fields, llama_cpp, ollama, openai, tabby
from codeling.serving.protocol.dialect import Dialect, Json, error_body
from codeling.serving.protocol.query import (
    Answer,
    Choice,
    Query,
    RequestError,
    ServedModel,
    TextPiece,
)
from codeling.serving.requests import check_ids, token_name
from codeling.serving.service import Service

RECORD = "codeling.record"
"""Key of the :class:`Record` in a request's scope."""

_MEDIA_TYPES = {"ndjson": "application/x-ndjson"}
_Handler = Callable[[Request], Awaitable[Response]]
_Result = TypeVar("_Result")


@dataclass
class Record:
    """What is known of a request, for the log."""

    query: Query | None = None
    answer: Answer | None = None
    message: str = ""


def routed(
    service: Service, model: ServedModel, monitoring: Monitoring, started: Callable[[], None]
) -> Starlette:
    """The application with all routes. Its lifespan starts and stops the engine's thread."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        service.start()
        started()
        try:
            yield
        finally:
            await asyncio.to_thread(service.stop)

    def generating(dialect: Dialect) -> _Handler:
        async def handle(request: Request) -> Response:
            work = _generate(request, service, model, dialect)
            return await _guarded(request, work, dialect.error)

        return handle

    def posting(answer: Callable[[Json], Json], error: Any = error_body) -> _Handler:
        async def handle(request: Request) -> Response:
            async def respond() -> Response:
                return _json(answer(fields.parse_json(await _body(request, service))))

            return await _guarded(request, respond(), error)

        return handle

    def getting(answer: Callable[[], Json]) -> _Handler:
        async def handle(request: Request) -> Response:
            return _json(answer())

        return handle

    async def metrics(request: Request) -> Response:
        return Response(monitoring.page(), media_type=CONTENT_TYPE)

    completions = {True: tabby.COMPLETIONS, False: openai.COMPLETIONS}

    async def complete(request: Request) -> Response:
        async def respond() -> Response:
            body = fields.parse_json(await _body(request, service))
            dialect = completions["segments" in body]
            return await _generate(request, service, model, dialect, body)

        return await _guarded(request, respond(), error_body)

    def tokenized(body: Json) -> Json:
        return _tokenized(service, fields.read(llama_cpp.LlamaTokenize, body))

    def detokenized(body: Json) -> Json:
        ids = fields.read(llama_cpp.LlamaDetokenize, body).tokens
        check_ids(ids, service.engine.tokenizer)
        return {"content": service.engine.tokenizer.decode(ids)}

    def counted(body: Json) -> Json:
        monitoring.event(fields.read(tabby.TabbyEvent, body).type)
        return {}

    def shown(body: Json) -> Json:
        fields.read(ollama.OllamaShow, body)
        return ollama.show(model)

    post: dict[str, _Handler] = {
        "/v1/completions": complete,
        "/v1/chat/completions": generating(chat.CHAT),
        "/infill": generating(llama_cpp.INFILL),
        "/completion": generating(llama_cpp.COMPLETION),
        "/api/generate": generating(ollama.GENERATE),
        "/api/show": posting(shown, ollama.error),
        "/tokenize": posting(tokenized),
        "/detokenize": posting(detokenized),
        "/v1/events": posting(counted),
    }
    get: dict[str, _Handler] = {
        "/v1/models": getting(lambda: openai.models(model)),
        "/api/tags": getting(lambda: ollama.tags(model)),
        "/api/version": getting(lambda: {"version": model.version}),
        "/health": getting(lambda: {"status": "ok"}),
        "/props": getting(lambda: llama_cpp.props(model)),
        "/v1/health": getting(lambda: tabby.health(model)),
        "/v1beta/server_setting": getting(tabby.server_setting),
        "/metrics": metrics,
    }
    app = Starlette(
        routes=[
            *(Route(path, handler, methods=["POST"]) for path, handler in post.items()),
            *(Route(path, handler, methods=["GET"]) for path, handler in get.items()),
        ],
        lifespan=lifespan,
        exception_handlers={HTTPException: _no_route},
    )
    app.router.redirect_slashes = False
    return app


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    reason = {404: "there is no such route", 405: f"{request.method} is not for this route"}
    message = f"{reason.get(error.status_code, error.detail)}; docs/serving.md lists the routes"
    return _json(error_body(error.status_code, message), error.status_code)


async def _guarded(
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
    except Exception:  # a bug must not end the server, nor tell a client what it is made of
        traceback.print_exc(file=sys.stderr)
        request.scope[RECORD].message = "a bug in codeling; the traceback is above"
        return _json(error_of(500, "a bug in codeling; its log has the details"), 500)


def error_response(
    error: CodelingError, error_of: Callable[[int, str], Json] = error_body
) -> Response:
    """The response for an error that was raised on purpose."""
    status = error.status if isinstance(error, RequestError) else 400
    seconds = error.retry_seconds if isinstance(error, RequestError) else None
    headers = None if seconds is None else {"Retry-After": str(seconds)}
    return _json(error_of(status, " ".join(str(error).split())), status, headers)


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(_compact(value), status, headers, "application/json")


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


async def _body(request: Request, service: Service) -> bytes:
    """The body. :raises RequestError: it is too large (413) or arrives too slowly (408)."""
    limits = service.limits

    async def receive() -> bytes:
        data = bytearray()
        async for chunk in request.stream():
            data += chunk
            if len(data) > limits.max_body_bytes:
                raise RequestError(
                    413, f"the body is above {quantity(limits.max_body_bytes, 'byte')}"
                )
        return bytes(data)

    try:
        return await asyncio.wait_for(receive(), limits.body_seconds)
    except asyncio.TimeoutError as error:
        raise RequestError(
            408, f"the body did not arrive within {limits.body_seconds:.0f} s"
        ) from error


async def _generate(
    request: Request,
    service: Service,
    model: ServedModel,
    dialect: Dialect,
    body: Json | None = None,
) -> Response:
    """Answer with completions, as a whole or as a stream."""
    if body is None:
        body = fields.parse_json(await _body(request, service))
    query = dialect.parse(body)
    record = request.scope[RECORD]
    record.query = query
    identifier = uuid.uuid4().hex
    client = request.client.host if request.client else ""
    if not query.stream:
        record.answer = await _unless_gone(request, service.complete(query, client))
        return _json(dialect.answer(query, record.answer, model, identifier))
    events = service.stream(query, client)
    # Errors of admission need their own status, so the response starts with the first event.
    first = await _unless_gone(request, anext(events))

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

    media_type = _MEDIA_TYPES.get(dialect.framing, "text/event-stream")
    return StreamingResponse(framed(), 200, {"Cache-Control": "no-cache"}, media_type)


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


async def _unless_gone(request: Request, work: Awaitable[_Result]) -> _Result:
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


def _tokenized(service: Service, asked: llama_cpp.LlamaTokenize) -> Json:
    tokenizer = service.engine.tokenizer
    ids = tokenizer.encode(asked.content)
    if asked.with_pieces:
        return {"tokens": [{"id": each, "piece": token_name(tokenizer, each)} for each in ids]}
    return {"tokens": ids}
