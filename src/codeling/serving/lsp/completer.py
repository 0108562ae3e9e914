"""Suggestions for the language server: from a model in this process, or from a server."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from http.client import HTTPConnection
from typing import Any, NamedTuple, Protocol

from codeling.errors import InputError
from codeling.generation.memory import MemorySpan
from codeling.memory.spans import SeenSpan
from codeling.serving.client import FAILURES, check_url, connect, refusal, send
from codeling.serving.protocol.query import Prompt, Query, SentFile
from codeling.serving.service import Service

_TIMEOUT_SECONDS = 30


class Completed(NamedTuple):
    """The text to show at a cursor."""

    text: str
    """Empty for nothing."""
    spans: Sequence[MemorySpan] = ()
    """Places where parts of it were seen."""


class Completer(Protocol):
    """Suggests what follows a cursor. A cancelled call ends its work."""

    async def complete(
        self, prefix: str, suffix: str, session: str, files: Sequence[SentFile]
    ) -> Completed:
        """The text to show between ``prefix`` and ``suffix``.

        ``files`` are known as files of the project, the nearest last. The next call of the same
        ``session`` ends the one in progress.
        """

    def close(self) -> None:
        """End all work."""


class LocalCompleter:
    """Asks a service in this process, which is started in the event loop of the first call."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._is_started = False

    async def complete(
        self, prefix: str, suffix: str, session: str, files: Sequence[SentFile]
    ) -> Completed:
        """See :class:`Completer`."""
        if not self._is_started:
            self._service.start()
            self._is_started = True
        query = Query(
            (Prompt(prefix, suffix),), files=tuple(files), session=session, with_details=True
        )
        choice = (await self._service.complete(query, "lsp")).choices[0]
        return Completed(choice.text, choice.details.spans if choice.details else ())

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

    async def complete(
        self, prefix: str, suffix: str, session: str, files: Sequence[SentFile]
    ) -> Completed:
        """See :class:`Completer`.

        :raises InputError: the server cannot be reached, or refuses.
        """
        connection = connect(self._url, _TIMEOUT_SECONDS)
        body: dict[str, object] = {
            "input_prefix": prefix,
            "input_suffix": suffix,
            "input_extra": [{"filename": each.path, "text": each.text} for each in files],
            "sources": True,
        }
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

    def _post(self, connection: HTTPConnection, body: dict[str, object]) -> Completed:
        try:
            status, answer = send(connection, "POST", "/infill", body, self._token)
        except FAILURES as error:
            raise InputError(f"{self._url}: no answer from a codeling server ({error})") from error
        if status != 200:
            raise refusal(self._url, status, answer)
        return Completed(str(answer["content"]), _spans(answer.get("sources")))

    def close(self) -> None:
        """See :class:`Completer`."""


def _spans(sources: Any) -> list[SeenSpan]:
    """The spans of an answer; none of a server that is not ours."""
    with suppress(KeyError, TypeError, ValueError):
        return [
            SeenSpan(
                str(each["text"]),
                str(each["source"]),
                None if each["path"] is None else str(each["path"]),
                int(each["start_line"]),
                int(each["end_line"]),
                float(each["share"]),
            )
            for each in sources or ()
        ]
    return []
