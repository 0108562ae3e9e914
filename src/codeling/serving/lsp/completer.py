"""Where the language server gets suggestions: from a model in this process, or from a server."""

import asyncio
import http.client
import json
from typing import Protocol
from urllib.parse import urlsplit

from codeling.errors import InputError, UsageError
from codeling.serving.protocol.query import Prompt, Query
from codeling.serving.service import Service

_TIMEOUT_SECONDS = 30


class Completer(Protocol):
    """Suggests what follows a cursor. A cancelled call ends its work."""

    async def complete(self, prefix: str, suffix: str, session: str) -> str:
        """What may be shown between ``prefix`` and ``suffix``; empty for nothing.

        The next call of the same ``session`` ends the one in progress.
        """

    def close(self) -> None:
        """End all work."""


class LocalCompleter:
    """Asks a service in this process, which is started in the event loop of the first call."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._is_started = False

    async def complete(self, prefix: str, suffix: str, session: str) -> str:
        """See :class:`Completer`."""
        if not self._is_started:
            self._service.start()
            self._is_started = True
        query = Query((Prompt(prefix, suffix),), session=session)
        answer = await self._service.complete(query, "lsp")
        return answer.choices[0].text

    def close(self) -> None:
        """See :class:`Completer`."""
        if self._is_started:
            self._service.stop()


class RemoteCompleter:
    """Asks a running ``codeling serve``."""

    def __init__(self, url: str, token: str | None) -> None:
        """:raises UsageError: ``url`` is not one of HTTP."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"{url!r} is not an address like http://127.0.0.1:8012")
        self._parts = parts
        self._token = token

    async def complete(self, prefix: str, suffix: str, session: str) -> str:
        """See :class:`Completer`.

        :raises InputError: the server cannot be reached, or refuses.
        """
        connection = self._connection()
        body: dict[str, object] = {"input_prefix": prefix, "input_suffix": suffix}
        task = asyncio.ensure_future(asyncio.to_thread(self._post, connection, body))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if connection.sock is not None:
                connection.sock.close()  # the server notices, and ends its work
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            raise

    def check(self) -> None:
        """:raises InputError: the server cannot be reached, or refuses the token."""
        self._post(self._connection(), {"input_prefix": "x = ", "n_predict": 0})

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_SECONDS)
        return http.client.HTTPConnection(host, port, timeout=_TIMEOUT_SECONDS)

    def _post(self, connection: http.client.HTTPConnection, body: dict[str, object]) -> str:
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        url = self._parts.geturl()
        try:
            connection.request("POST", "/infill", json.dumps(body), headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise InputError(f"{url}: no answer from a codeling server ({error})") from error
        finally:
            connection.close()
        if response.status != 200:
            raise InputError(f"{url}: {answer.get('error', {}).get('message', response.reason)}")
        return str(answer["content"])

    def close(self) -> None:
        """See :class:`Completer`."""
