"""The server's routes: which path belongs to which dialect."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codeling.serving.http import openapi
from codeling.serving.http.exchange import (
    body_of,
    generated,
    guarded,
    json_response,
    media_types,
)
from codeling.serving.http.monitoring import CONTENT_TYPE, Monitoring
from codeling.serving.http.openapi import Endpoint
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

    async def health(request: Request) -> Response:
        problem = await asyncio.to_thread(service.problem)
        if problem:
            body = {"status": "engine unreachable", **error_body(503, problem)}
            return json_response(body, 503)
        return json_response({"status": "ok"})

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
        check_ids(ids, service.engine.tokenizer, "tokens")
        return {"content": service.engine.tokenizer.decode(ids)}

    def counted(body: Json) -> Json:
        monitoring.event(fields.read(tabby.TabbyEvent, body).type)
        return {}

    def shown(body: Json) -> Json:
        fields.read(ollama.OllamaShow, body)
        return ollama.show(model)

    def completing(path: str, summary: str, *dialects: Dialect) -> Endpoint:
        handler = complete if len(dialects) > 1 else generating(dialects[0])
        media = dict.fromkeys(media_type for each in dialects for media_type in media_types(each))
        return Endpoint("POST", path, summary, handler, [each.body for each in dialects], [*media])

    endpoints = [
        completing("/v1/completions", "OpenAI's and Tabby's completions", *completions.values()),
        completing("/v1/chat/completions", "Infilling at <FILL_ME>, as marimo asks", chat.CHAT),
        completing("/infill", "llama.cpp's infilling", llama_cpp.INFILL),
        completing("/completion", "llama.cpp's completion", llama_cpp.COMPLETION),
        completing("/api/generate", "Ollama's completion", ollama.GENERATE),
        *(
            Endpoint("POST", path, summary, handler, [body])
            for path, summary, handler, body in (
                ("/api/show", "The model", posting(shown, ollama.error), ollama.OllamaShow),
                ("/tokenize", "Text to ids", posting(tokenized), llama_cpp.LlamaTokenize),
                ("/detokenize", "Ids to text", posting(detokenized), llama_cpp.LlamaDetokenize),
                ("/v1/events", "Fate of a suggestion", posting(counted), tabby.TabbyEvent),
            )
        ),
        *(
            Endpoint("GET", path, summary, getting(answer))
            for path, summary, answer in (
                ("/v1/models", "OpenAI's list of models", lambda: openai.models(model)),
                ("/api/tags", "Ollama's list of models", lambda: ollama.tags(model)),
                ("/api/version", "The version", lambda: {"version": model.version}),
                ("/props", "llama.cpp's settings", lambda: llama_cpp.props(model)),
                ("/v1/health", "Tabby's description of the server", lambda: tabby.health(model)),
                ("/v1beta/server_setting", "Tabby's settings", tabby.server_setting),
                (openapi.PATH, "This description", lambda: described()),
            )
        ),
        Endpoint("GET", "/health", "Whether the server can complete; needs no token", health),
        Endpoint("GET", "/metrics", "Prometheus's metrics", metrics, answers=["text/plain"]),
    ]

    @cache
    def described() -> Json:
        return openapi.describe(endpoints, model)

    app = Starlette(
        routes=[
            *(Route(each.path, each.handler, methods=[each.method]) for each in endpoints),
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
    headers = dict(error.headers or {})  # Allow
    return json_response(error_body(error.status_code, message), error.status_code, headers)


def _tokenized(service: Service, asked: llama_cpp.LlamaTokenize) -> Json:
    tokenizer = service.engine.tokenizer
    ids = tokenizer.encode(asked.content)
    if asked.with_pieces:
        return {"tokens": [{"id": each, "piece": token_name(tokenizer, each)} for each in ids]}
    return {"tokens": ids}
