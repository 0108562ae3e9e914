"""The codeling server that notebooks use: a given one, or one that is started when it is needed.

This module must not know Jupyter.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from codeling.errors import InputError
from codeling.serving.client import FAILURES, check_url, connect, error_message, send

_TIMEOUT_SECONDS = 10
_RETRY_SECONDS = 10.0
"""Time after which a server that ended is started again."""
_COMMAND = (sys.executable, "-m", "codeling")


class ModelServer:
    """Finds or starts the server, and sends requests to it. Any thread may call it."""

    def __init__(self, url: str, token: str, model: str, command: Sequence[str] = _COMMAND) -> None:
        """A server at ``url`` with ``token``; without a URL one is started for ``model``.

        :raises UsageError: ``url`` is not the address of a server.
        """
        if url:
            check_url(url)
        self._address = (url, token) if url else None
        self._model = model
        self._command = command
        self._process: subprocess.Popen[str] | None = None
        self._started = -_RETRY_SECONDS
        self._lock = threading.Lock()

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request.

        :raises InputError: there is no server, or it refuses.
        """
        url, token = self._reach()
        try:
            status, answer = send(connect(url, _TIMEOUT_SECONDS), "POST", path, body, token or None)
        except FAILURES as error:
            raise InputError(f"no answer from the codeling server at {url}") from error
        if status != 200 or not isinstance(answer, dict):
            raise InputError(f"the codeling server refuses: {error_message(answer) or status}")
        return answer

    def close(self) -> None:
        """End the server, if it was started here."""
        with self._lock:
            if self._process is not None:
                _end(self._process)
                self._process = self._address = None

    def _reach(self) -> tuple[str, str]:
        """URL and token of a running server."""
        with self._lock:
            if self._process is not None and self._process.poll() is not None:
                _end(self._process)
                self._process = self._address = None
            if self._address is None:
                self._address = self._start()
            return self._address

    def _start(self) -> tuple[str, str]:
        if not self._model:
            raise InputError(
                "no model: start Jupyter with CODELING_MODEL=runs/demo, or with CODELING_URL and "
                "CODELING_TOKEN of a running codeling serve"
            )
        if time.monotonic() < self._started + _RETRY_SECONDS:
            raise InputError("the codeling server has ended; it is started again in a moment")
        self._started = time.monotonic()
        process = subprocess.Popen(
            [*self._command, "serve", self._model, "--port", "0", "--json"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        try:
            address = json.loads(process.stdout.readline())
            found = str(address["url"]), str(address["token"])
        except (ValueError, LookupError, TypeError) as error:
            _end(process)
            raise InputError(
                f"codeling serve {self._model} did not start; Jupyter's log says why"
            ) from error
        self._process = process
        return found


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.wait(15)
    if process.stdout is not None:
        process.stdout.close()
