"""The JSON routes of the playground."""

import asyncio
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codeling.serving.http.exchange import body_of, generated, guarded, json_response
from codeling.serving.playground.details import PLAYGROUND
from codeling.serving.playground.lookups import Lookups
from codeling.serving.protocol import fields
from codeling.serving.protocol.dialect import Json, error_body
from codeling.serving.protocol.query import ServedModel
from codeling.serving.service import Service


def api_routes(service: Service, model: ServedModel, lookups: Lookups) -> list[Route]:
    """Suggestions with their details, and what :class:`Lookups` looks up, in threads."""

    async def complete(request: Request) -> Response:
        work = generated(request, service, model, PLAYGROUND)
        return await guarded(request, work, PLAYGROUND.error)

    def posting(answer: Callable[[Json], Json]) -> Callable[[Request], object]:
        async def handle(request: Request) -> Response:
            async def respond() -> Response:
                body = fields.parse_json(await body_of(request, service))
                return json_response(await asyncio.to_thread(answer, body))

            return await guarded(request, respond(), error_body)

        return handle

    def getting(answer: Callable[[], Json]) -> Callable[[Request], object]:
        async def handle(request: Request) -> Response:
            async def respond() -> Response:
                return json_response(await asyncio.to_thread(answer))

            return await guarded(request, respond(), error_body)

        return handle

    return [
        Route("/playground/complete", complete, methods=["POST"]),
        Route("/playground/tokens", posting(lookups.tokens), methods=["POST"]),
        Route("/playground/trace", posting(lookups.trace), methods=["POST"]),
        Route("/playground/about", getting(lookups.about), methods=["GET"]),
        Route("/playground/typing", getting(lookups.typing), methods=["GET"]),
    ]
