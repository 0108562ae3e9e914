"""Ctrl-C and SIGTERM: the command stops soon and prints one line.

Training polls a stop request between two steps, saves its state, and stops; a second signal does
not wait for that. All other work is left at once by :class:`Interrupted`: unfinished work is lost,
and no partial file is mistaken for a complete one. A command that serves may finish its requests
first (:meth:`SignalHandler.draining`). Python runs a signal handler only between two instructions
of the main thread. If the process has not ended :data:`GRACE_SECONDS` after the signal, because
foreign code blocks the main thread, a watcher thread ends it.
"""

import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from codeling.run import StopRequest

EXIT_CODE = 130
"""Exit code of an interrupted command: 128 + SIGINT."""
GRACE_SECONDS = 10.0
"""Seconds between a signal that has to stop the command at once and the end of the process."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """Raised in the main thread by the signal handler.

    Foreign code may swallow it or replace it by its own error, as torch does.
    :attr:`SignalHandler.interrupted` and ``StopRequest.aborted`` record that it was raised.
    """


class SignalHandler:
    """Turns the signals of this process into a stop request or :class:`Interrupted`."""

    def __init__(self) -> None:
        self._request: StopRequest | None = None
        self._resumes: Callable[[], bool] = _never
        self._grace_seconds = GRACE_SECONDS
        self._leaving = False
        self._sockets: tuple[socket.socket, socket.socket] | None = None
        self.interrupted = False
        """Whether :class:`Interrupted` was raised. Later errors are consequences of it."""

    def install(self) -> None:
        """Handle the signals from now on. Call this from the main thread."""
        self._leaving = self.interrupted = False
        self._resumes = _never
        self._grace_seconds = GRACE_SECONDS
        if self._sockets is None:
            reader, writer = self._sockets = socket.socketpair()  # Windows has no such pipes
            writer.setblocking(False)
            threading.Thread(target=self._watch, args=(reader,), daemon=True).start()
        signal.set_wakeup_fd(self._sockets[1].fileno(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, self._handle)

    def ignore(self) -> None:
        """Ignore further signals, because the process is about to end.

        A handler in Python would not do: the interpreter restores the default while it ends.
        """
        self._leaving = True
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    @contextmanager
    def resumable(
        self, resumes: Callable[[], bool], request: "StopRequest | None" = None
    ) -> Iterator[None]:
        """Run work that the same command can resume if ``resumes()`` is true afterwards.

        While ``request`` is graceful, the first signal sets it and does not interrupt the work.
        """
        self._request, self._resumes = request, resumes
        try:
            yield
        finally:
            self._request = None

    @contextmanager
    def draining(self, seconds: float) -> Iterator[None]:
        """Run a server that may take ``seconds`` after a signal to finish its requests.

        The watcher ends the process ``seconds`` after the first signal instead of
        :data:`GRACE_SECONDS`, and at most :data:`GRACE_SECONDS` after a second one. The server
        catches :class:`Interrupted`, or has handlers of its own, and drains within this context.
        """
        self._grace_seconds = seconds
        try:
            yield
        finally:
            self._grace_seconds = GRACE_SECONDS

    @property
    def message(self) -> str:
        """The line that an interrupted command prints."""
        if self._resumes():
            return "stopped; finished work is kept, and the same command continues from there"
        return "stopped"

    def _handle(self, number: int, frame: FrameType | None) -> None:
        request = self._request
        if request is not None and request.graceful and not request.requested:
            request.requested = True
        elif not self._leaving:
            self._leaving = self.interrupted = True
            if request is not None:
                request.aborted = True
            sys.unraisablehook = lambda unraisable: None  # no report where it cannot propagate
            raise Interrupted

    def _watch(self, reader: socket.socket) -> None:
        """End the process if the main thread does not. A graceful request is not hurried."""
        requested = False
        while True:
            if reader.recv(1)[0] not in _SIGNALS:
                continue
            request = self._request
            if request is not None and request.graceful and not requested:
                requested = True
                continue
            end = time.monotonic() + self._grace_seconds
            while (rest := end - time.monotonic()) > 0:
                if select.select([reader], [], [], rest)[0] and reader.recv(1)[0] in _SIGNALS:
                    end = min(end, time.monotonic() + GRACE_SECONDS)
            sys.stderr.write(f"codeling: {self.message}\n")
            sys.stderr.flush()
            os._exit(EXIT_CODE)


def _never() -> bool:
    return False


HANDLER = SignalHandler()
"""The handler of this process; :func:`codeling.cli.main` installs it."""
