"""The server of ``codeling watch``: one page, and a stream of server-sent events.

It reads a run folder and writes nothing, so it can be opened and closed at any time. Only this
machine reaches it.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from importlib.resources import files
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from codeling.serving.http.access import AccessRules
from codeling.serving.http.exchange import error_response
from codeling.serving.http.middleware import headers_of
from codeling.serving.http.server import listen, serve_on
from codeling.serving.protocol.query import RequestError
from codeling.serving.watching.follow import RunFollower

HOST = "127.0.0.1"
DEFAULT_PORT = 8013
_STATIC = Path(__file__).with_name("static")
_PUBLIC = {
    "/": (_STATIC / "watch.html", "text/html"),
    "/watch.js": (_STATIC / "watch.js", "text/javascript"),
    "/watch.css": (_STATIC / "watch.css", "text/css"),
}
"""Paths that need no token, with their files."""
_INTERVAL_SECONDS = 0.5
_STATE_SECONDS = 5.0
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def watch_application(folder: Path, token: str) -> ASGIApp:
    """The ASGI application that shows the run in ``folder``."""
    rules = AccessRules(HOST, token, public=frozenset({*_PUBLIC, "/style.css"}))

    async def public(request: Request) -> Response:
        path, media_type = _PUBLIC[request.url.path]
        return FileResponse(path, 200, _HEADERS, media_type)

    async def style(request: Request) -> Response:
        sheet = files("codeling.report").joinpath("templates/style.css")
        return Response(sheet.read_text(encoding="utf-8"), 200, _HEADERS, "text/css")

    async def events(request: Request) -> Response:
        return StreamingResponse(_stream(folder), 200, _HEADERS, "text/event-stream")

    app = Starlette(
        routes=[
            *(Route(path, public) for path in _PUBLIC),
            Route("/style.css", style),
            Route("/events", events),
        ]
    )

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                rules.check(scope["path"], headers_of(scope))
            except RequestError as error:
                await error_response(error)(scope, receive, send)
                return
        await app(scope, receive, send)

    return guarded


async def _stream(folder: Path) -> AsyncIterator[str]:
    """Server-sent events: the past, then what is new, and now and then the state."""
    follower, waited = RunFollower(folder), _STATE_SECONDS
    while True:
        for event in await asyncio.to_thread(follower.events):
            yield _event(event)
        if waited >= _STATE_SECONDS:
            yield _event({"kind": "state", "age_seconds": follower.age_seconds()})
            waited = 0.0
        await asyncio.sleep(_INTERVAL_SECONDS)
        waited += _INTERVAL_SECONDS


def _event(values: object) -> str:
    return f"data: {json.dumps(values, ensure_ascii=False, separators=(',', ':'))}\n\n"


def serve_watch(folder: Path, port: int, token: str, started: Callable[[int], None]) -> None:
    """Show the run until SIGINT or SIGTERM; ``started`` is called with the port.

    :raises UsageError: the port cannot be used.
    """
    with closing(listen(HOST, port)) as bound:
        app = watch_application(folder, token)
        started(bound.getsockname()[1])
        serve_on(bound, app, lifespan="off", timeout_graceful_shutdown=1)
