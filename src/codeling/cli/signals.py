"""Ctrl-C and SIGTERM: the command leaves, with one line, and soon.

Training looks at a request to stop between two steps, saves, and leaves; a second signal does
not wait for that. Everything else is left at once by :class:`Interrupted`: what it had not
finished is done again, and nothing half-written is taken for whole. Python runs a signal's
handler only between two of its own instructions; where the main thread is held up elsewhere
for :data:`GRACE_SECONDS`, a watching thread ends the process.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from codeling.run import StopRequest

GRACE_SECONDS = 10.0
"""Between a signal that is to be obeyed at once and the end of the process."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """Raised in the main thread, out of whatever it is at.

    Foreign code may swallow it, or raise an error of its own instead (torch does, in the middle
    of asking an object what it is); :attr:`Listener.interrupted` and ``StopRequest.at_once``
    tell that it was raised.
    """


class Listener:
    """What this process does when it is asked to leave."""

    def __init__(self) -> None:
        self._request: StopRequest | None = None
        self._leaving = False
        self._watching = False
        self.interrupted = False
        """Whether :class:`Interrupted` was raised; what goes wrong after that is its doing."""

    def listen(self) -> None:
        """Handle the signals of this process from now on; to be called by its main thread."""
        self._leaving = self.interrupted = False
        if not self._watching:
            reader, writer = os.pipe()
            os.set_blocking(writer, False)
            signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
            threading.Thread(target=self._watch, args=(reader,), daemon=True).start()
            self._watching = True
        for number in _SIGNALS:
            signal.signal(number, self._handle)

    def leave(self) -> None:
        """Ignore further signals: the process is about to end, and does so tidily.

        A handler of ours would not do: Python puts the default back while it ends.
        """
        self._leaving = True
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    @contextmanager
    def heeding(self, request: "StopRequest") -> Iterator[None]:
        """While ``request`` is patient, set it at the first signal and let the work go on."""
        self._request = request
        try:
            yield
        finally:
            self._request = None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        request = self._request
        if request is not None and request.patient and not request.requested:
            request.requested = True
        elif not self._leaving:
            self._leaving = self.interrupted = True
            if request is not None:
                request.at_once = True
            sys.unraisablehook = lambda unraisable: None  # where it cannot pass, it says nothing
            raise Interrupted

    def _watch(self, reader: int) -> None:
        """End the process where the main thread does not; a request is given all its time."""
        asked = False
        while True:
            if os.read(reader, 1)[0] not in _SIGNALS:
                continue
            request = self._request
            if request is not None and request.patient and not asked:
                asked = True
                continue
            time.sleep(GRACE_SECONDS)
            sys.stderr.write("codeling: stopped; the same command goes on from what had finished\n")
            sys.stderr.flush()
            os._exit(1)


LISTENER = Listener()
"""Of this process; :func:`codeling.cli.main` makes it listen."""
