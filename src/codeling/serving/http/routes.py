"""The server's routes: which path belongs to which dialect."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codeling.serving.http.exchange import body_of, generated, guarded, json_response
from codeling.serving.http.monitoring import CONTENT_TYPE, Monitoring
from codeling.serving.protocol import chat, fields, llama_cpp, ollama, openai, tabby
from codeling.serving.protocol.dialect import Dialect, Json, error_body
from codeling.serving.protocol.query import ServedModel
from codeling.serving.requests import check_ids, token_name
from codeling.serving.service import Service

_Handler = Callable[[Request], Awaitable[Response]]


def routed(
    service: Service,
    model: ServedModel,
    monitoring: Monitoring,
    started: Callable[[], None],
    more: Iterable[Route],
) -> Starlette:
    """The application with all routes, ``more`` among them.

    Its lifespan starts and stops the engine's thread.
    """

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
            work = generated(request, service, model, dialect)
            return await guarded(request, work, dialect.error)

        return handle

    def posting(answer: Callable[[Json], Json], error: Any = error_body) -> _Handler:
        async def handle(request: Request) -> Response:
            async def respond() -> Response:
                return json_response(answer(fields.parse_json(await body_of(request, service))))

            return await guarded(request, respond(), error)

        return handle

    def getting(answer: Callable[[], Json]) -> _Handler:
        async def handle(request: Request) -> Response:
            return json_response(answer())

        return handle

    async def metrics(request: Request) -> Response:
        return Response(monitoring.page(), media_type=CONTENT_TYPE)

    completions = {True: tabby.COMPLETIONS, False: openai.COMPLETIONS}

    async def complete(request: Request) -> Response:
        async def respond() -> Response:
            body = fields.parse_json(await body_of(request, service))
            dialect = completions["segments" in body]
            return await generated(request, service, model, dialect, body)

        return await guarded(request, respond(), error_body)

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
            *more,
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
    return json_response(error_body(error.status_code, message), error.status_code)


def _tokenized(service: Service, asked: llama_cpp.LlamaTokenize) -> Json:
    tokenizer = service.engine.tokenizer
    ids = tokenizer.encode(asked.content)
    if asked.with_pieces:
        return {"tokens": [{"id": each, "piece": token_name(tokenizer, each)} for each in ids]}
    return {"tokens": ids}
