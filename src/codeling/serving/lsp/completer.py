"""Where the language server gets suggestions: from a model in this process, or from a server."""

import asyncio
from http.client import HTTPConnection, responses
from typing import Protocol

from codeling.errors import InputError
from codeling.serving.client import FAILURES, check_url, connect, error_message, send
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
        check_url(url)
        self._url = url
        self._token = token

    async def complete(self, prefix: str, suffix: str, session: str) -> str:
        """See :class:`Completer`.

        :raises InputError: the server cannot be reached, or refuses.
        """
        connection = connect(self._url, _TIMEOUT_SECONDS)
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
        self._post(connect(self._url, _TIMEOUT_SECONDS), {"input_prefix": "x = ", "n_predict": 0})

    def _post(self, connection: HTTPConnection, body: dict[str, object]) -> str:
        try:
            status, answer = send(connection, "POST", "/infill", body, self._token)
        except FAILURES as error:
            raise InputError(f"{self._url}: no answer from a codeling server ({error})") from error
        if status != 200:
            raise InputError(
                f"{self._url}: {error_message(answer) or responses.get(status, status)}"
            )
        return str(answer["content"])

    def close(self) -> None:
        """See :class:`Completer`."""
