"""The middleware around the routes: access, metrics and the request log.

Every request passes here first and ends here.
"""

import time
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from codeling.errors import CodelingError
from codeling.serving.http.access import AccessRules
from codeling.serving.http.exchange import RECORD, Record, error_response
from codeling.serving.http.monitoring import Monitoring
from codeling.serving.http.request_log import RequestLog

CLIENT_LEFT = 499
"""Status in log and metrics of a request whose client went away before the answer (nginx's)."""


class ServerMiddleware:
    """ASGI middleware around the routes."""

    def __init__(
        self, app: ASGIApp, rules: AccessRules, monitoring: Monitoring, log: RequestLog | None
    ) -> None:
        self._app = app
        self._rules = rules
        self._monitoring = monitoring
        self._log = log
        self._paths = frozenset(route.path for route in getattr(app, "routes", ()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection event of ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        record = scope[RECORD] = Record()
        status = 0

        async def send_noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            self._rules.check(scope["path"], headers_of(scope))
            await self._app(scope, receive, send_noting_status)
        except CodelingError as error:
            record.message = str(error)
            await error_response(error)(scope, receive, send_noting_status)
        except ClientDisconnect:
            status = CLIENT_LEFT
        finally:
            self._note(scope, status or CLIENT_LEFT, time.monotonic() - began, record)

    def _note(self, scope: Scope, status: int, seconds: float, record: Record) -> None:
        # Unknown paths share one name, so that no client can fill the memory with counters.
        route = scope["path"] if scope["path"] in self._paths else "other"
        self._monitoring.request(route, status, seconds)
        if record.answer is not None:
            self._monitoring.answer(record.answer)
        if self._log is not None:
            self._log.line(route, status, seconds, record.query, record.answer, record.message)


def headers_of(scope: Scope) -> dict[str, str]:
    """Headers by lower-case name; the last of several counts."""
    found: dict[str, Any] = {}
    for name, value in scope["headers"]:
        found[name.decode("latin-1")] = value.decode("latin-1")
    return found
