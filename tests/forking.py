"""Processes that start with the imports of the tests already done.

A new process takes seconds for its imports, often longer than what a test does in it. A fork of the
process that runs the tests may hang: libraries that a test used have threads, and locks that they
held stay locked. So that process forks a server once all tests are collected, before any runs, and
the server forks the others.
"""

import atexit
import faulthandler
import gc
import multiprocessing.util
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from importlib import import_module
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from pathlib import Path
from typing import Any

_SIGNALS = [number for number in signal.Signals if number.name in ("SIGINT", "SIGTERM", "SIGHUP")]
_connection: Connection | None = None
_server_pid = 0
_lock = threading.Lock()


def start_server() -> None:
    """Fork the server. It ends with this process at the latest."""
    global _connection, _server_pid
    _connection, other = Pipe()
    _server_pid = os.fork()
    if _server_pid:
        other.close()
        return
    try:
        _connection.close()
        _serve(other)
    except EOFError:
        pass
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


def stop_server() -> None:
    """End the server and everything it forked; their processor time then counts as this one's."""
    global _connection
    if _connection is not None:
        _connection.close()
        _connection = None
        os.waitpid(_server_pid, 0)


def prepare(function: Callable[..., object], *arguments: Any) -> None:
    """Call ``function`` in the server, so that later forks start with what it imported or loaded.

    It must start no thread, and leave nothing that changes what other tests' forks do.
    """
    _ask("prepare", function, arguments)


def preload(*modules: str) -> None:
    """Import modules in the server."""
    for module in modules:
        prepare(import_module, module)


class Fork:
    """A process that calls a function and exits, with the ``pid``, ``poll`` and ``wait`` of Popen.

    As a context manager it is killed at the end of the context, if it still runs.
    """

    def __init__(
        self,
        function: Callable[..., object],
        *arguments: Any,
        errors: Path | int,
        pipes: tuple[int, int] | None = None,
        new_session: bool = False,
    ) -> None:
        """Call ``function`` in a new process; the function and its arguments are pickled.

        ``errors``, a path or a file descriptor, gets the standard error. ``pipes`` are the standard
        input and output; without them both are empty.
        """
        self._code: int | None = None
        with ExitStack() as stack:
            if isinstance(errors, Path):
                errors = stack.enter_context(errors.open("wb")).fileno()
            streams = (errors, *(pipes or ()))
            self.pid: int = _ask("fork", function, arguments, new_session, files=streams)
        assert self.pid > 1, "a signal to group 0 or 1 would reach other processes"

    def __enter__(self) -> "Fork":
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()

    def poll(self) -> int | None:
        """The exit code, or None while it runs; negative for a signal."""
        if self._code is None:
            self._code = _ask("poll", self.pid)
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return the exit code.

        :raises subprocess.TimeoutExpired: it still runs after ``timeout`` seconds.
        """
        begin, pause = time.monotonic(), 0.002
        while (code := self.poll()) is None:
            if timeout is not None and time.monotonic() - begin > timeout:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(pause)
            pause = min(0.05, 1.2 * pause)
        return code

    def kill(self) -> None:
        """Kill it if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()


def _ask(kind: str, *request: Any, files: Sequence[int] = ()) -> Any:
    assert _connection is not None, "the server of tests/forking.py is not running"
    with _lock:
        try:
            _connection.send((kind, len(files), request))
            for file in files:
                send_handle(_connection, file, _server_pid)
            error, answer = _connection.recv()
        except BaseException:  # a timeout, or Ctrl-C: the next answer would be that of this request
            _connection.close()
            raise
    assert error is None, error
    return answer


def _serve(connection: Connection) -> None:
    """Answer requests until the other end is closed, then kill what still runs."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    running: dict[int, bool] = {}  # process → whether it leads a session
    try:
        while True:
            kind, num_files, request = connection.recv()
            files = [recv_handle(connection) for _ in range(num_files)]
            error, answer = None, None
            try:
                if kind == "prepare":
                    function, arguments = request
                    function(*arguments)
                elif kind == "poll":
                    pid, status = os.waitpid(request[0], os.WNOHANG)
                    if pid:
                        del running[pid]
                        answer = os.waitstatus_to_exitcode(status)
                else:
                    answer = _fork(connection, files, *request)
                    running[answer] = request[-1]
            except Exception:
                error = traceback.format_exc()
            for file in files:
                os.close(file)
            connection.send((error, answer))
    finally:
        for pid, leads_session in running.items():
            with suppress(ProcessLookupError):
                (os.killpg if leads_session else os.kill)(pid, signal.SIGKILL)
        for pid in running:
            os.waitpid(pid, 0)


def _fork(
    connection: Connection,
    files: Sequence[int],
    function: Callable[..., object],
    arguments: Sequence[Any],
    new_session: bool,
) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            connection.close()
            code = _run(files, function, arguments, new_session)
        finally:
            os._exit(code)
    while new_session and os.getpgid(pid) != pid:
        time.sleep(0.0002)
    return pid


def _run(
    files: Sequence[int],
    function: Callable[..., object],
    arguments: Sequence[Any],
    new_session: bool,
) -> int:
    """Call ``function`` as a new interpreter would, and end like one. Returns the exit code."""
    if new_session:
        os.setsid()
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    atexit._clear()
    null = os.open(os.devnull, os.O_RDWR)
    errors, *pipes = files
    for target, opened in enumerate((*(pipes or (null, null)), errors)):
        os.dup2(opened, target)
    for opened in (null, *files):
        os.close(opened)
    sys.stdin, sys.stdout = (
        open(descriptor, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
        for descriptor, mode in enumerate("rw")
    )
    sys.stderr = open(  # noqa: SIM115
        2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
    )
    faulthandler.enable()
    gc.freeze()  # a fork collects only its own objects
    code = 0
    try:
        function(*arguments)
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
        if isinstance(exit_.code, str):
            sys.stderr.write(exit_.code + "\n")
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads
    multiprocessing.util._exit_function()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    return code
