"""Requests to a running server: for the language server and for the check of an editor."""

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

from codeling.errors import UsageError

FAILURES = (OSError, ValueError, http.client.HTTPException)
"""What :func:`send` raises if there is no answer, or none in JSON."""


def check_url(url: str) -> None:
    """:raises UsageError: ``url`` is not the address of a server."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{url!r} is not an address like http://127.0.0.1:8012")


def connect(url: str, timeout_seconds: float) -> http.client.HTTPConnection:
    """A connection to the server at ``url``, which opens with the first request."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname or "", parts.port, timeout=timeout_seconds)


def send(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: dict[str, Any] | None = None,
    token: str | None = None,
) -> tuple[int, Any]:
    """Send one request and close the connection: the status and the JSON value of the answer.

    Raises :data:`FAILURES`.
    """
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def error_message(answer: object) -> str:
    """The message of an answer that is an error; empty if it has none."""
    error = answer.get("error") if isinstance(answer, dict) else None
    return str(error.get("message", "")) if isinstance(error, dict) else ""
