"""Forks of the process that runs the tests, which has imported everything.

A new process takes seconds for its imports, often longer than what a test does in it.
"""

import faulthandler
import gc
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_LOG = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Fork:
    """A process that calls a function and exits. Its pid, poll and wait are those of Popen."""

    def __init__(
        self,
        function: Callable[[], object],
        errors: Path | int,
        *,
        new_session: bool = False,
        pipes: tuple[int, int] | None = None,
    ) -> None:
        """``errors``, a path or an open file, gets the standard error. ``pipes`` are the standard
        input and output, which are empty without it. The exit code is that of SystemExit, and 1
        after another exception."""
        log = os.open(errors, _LOG) if isinstance(errors, Path) else errors
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # pytest-xdist has a thread
            self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                _separate(log, new_session, pipes)
                function()
                code = 0
            except SystemExit as exit_:
                code = exit_.code if isinstance(exit_.code, int) else 0
            except BaseException:
                traceback.print_exc()
            finally:
                with suppress(OSError):
                    sys.stdout.flush()
                    sys.stderr.flush()
                os._exit(code)
        if log is not errors:
            os.close(log)
        self._code: int | None = None

    def poll(self) -> int | None:
        """The exit code, or None while it runs; negative for a signal."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it has ended, which must be within ``timeout`` or 300 seconds."""
        deadline = time.monotonic() + (300.0 if timeout is None else timeout)
        while (code := self.poll()) is None:
            assert time.monotonic() < deadline, "the process does not end"
            time.sleep(0.005)
        return code

    def kill(self) -> None:
        """Kill it if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()


def _separate(log: int, new_session: bool, pipes: tuple[int, int] | None) -> None:
    """Leave pytest's session, standard streams and signal handlers."""
    if new_session:
        os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    for number, opened in enumerate((*(pipes or (null, null)), log)):
        os.dup2(opened, number)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
        for number, mode in enumerate("rww")
    )
    faulthandler.enable()
    gc.freeze()  # a fork collects only its own objects
