"""Requests to a running server: for the language server, the check of an editor, and evaluation."""

import http.client
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from codeling.errors import InputError, UsageError
from codeling.serving.http.access import TOKEN_VARIABLE

FAILURES = (OSError, ValueError, http.client.HTTPException)
"""What :func:`send` raises if there is no answer, or none in JSON."""
_NO_INFILLING = (404, 405, 501)
"""Answers of a server that has no ``/infill``, or whose model cannot fill in."""


def check_url(url: str) -> None:
    """:raises UsageError: ``url`` is not the address of a server."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{url!r} is not an address like http://127.0.0.1:8012")


def address_of(url: str) -> str:
    """``url`` without its path, as :func:`connect` reads it.

    :raises UsageError: ``url`` is not the address of a server.
    """
    check_url(url)
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


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
    try:
        request(connection, method, path, body, token)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def request(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: dict[str, Any] | None,
    token: str | None,
) -> None:
    """Send one request; the caller reads the answer. Raises :data:`FAILURES`."""
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    connection.request(method, path, None if body is None else json.dumps(body), headers)


def error_message(answer: object) -> str:
    """The message of an answer that is an error; empty if it has none."""
    error = answer.get("error") if isinstance(answer, dict) else None
    return str(error.get("message", "")) if isinstance(error, dict) else ""


def refusal(url: str, status: int, answer: object, variable: str = TOKEN_VARIABLE) -> InputError:
    """The meaning of an error response; its token was read from ``variable``."""
    if status == 401:
        reason = f"the token is missing or wrong; set {variable} to the one of that server"
    else:
        reason = error_message(answer) or http.client.responses.get(status) or f"status {status}"
    return InputError(f"{url}: {reason}")


class CompletionServer:
    """Greedy completions of a running server that speaks llama.cpp's or OpenAI's dialect."""

    def __init__(self, url: str, token: str | None = None, timeout_seconds: float = 60) -> None:
        """:raises UsageError: ``url`` is not the address of a server."""
        check_url(url)
        self.url = url.rstrip("/")
        self._token = token
        self._timeout_seconds = timeout_seconds
        self._model: str | None = None
        """What OpenAI's dialect calls the model; None: the server has ``/infill``."""

    def complete(
        self, prefix: str, suffix: str, stop: Sequence[str] = (), max_new_tokens: int = 64
    ) -> str:
        """The server's completion between two texts, up to one of ``stop``.

        :raises InputError: the server cannot be reached, or refuses.
        """
        if self._model is None:
            body = {
                "input_prefix": prefix,
                "input_suffix": suffix,
                "n_predict": max_new_tokens,
                "temperature": 0,
                "cache_prompt": True,
                "stop": list(stop),
            }
            status, answer = self._ask("POST", "/infill", body)
            if status == 200:
                return str(answer["content"])
            if status not in _NO_INFILLING:
                raise refusal(self.url, status, answer)
            status, answer = self._ask("GET", "/v1/models")
            if status != 200 or not answer.get("data"):
                raise refusal(self.url, status, answer)
            self._model = str(answer["data"][0]["id"])
        body = {
            "model": self._model,
            "prompt": prefix,
            "max_tokens": max_new_tokens,
            "temperature": 0,
            "stop": list(stop) or None,
        }
        if suffix.strip():
            body["suffix"] = suffix
        status, answer = self._ask("POST", "/v1/completions", body)
        if status != 200:
            raise refusal(self.url, status, answer)
        return str(answer["choices"][0]["text"])

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        connection = connect(self.url, self._timeout_seconds)
        try:
            return send(connection, method, path, body, self._token)
        except FAILURES as error:
            raise InputError(f"{self.url}: no answer from a server ({error})") from error
