"""Forks processes from one that has imported the test modules, and has no threads of its own.

A new process takes seconds for its imports, often longer than what a test does in it. A fork of the
process that runs the tests may hang: libraries that a test used have threads, and locks that they
held stay locked. So that process forks a server once all tests are collected, before any runs, and
the server forks the others.
"""

import faulthandler
import gc
import os
import pickle
import signal
import socket
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

_LENGTH = struct.Struct("q")
_client: socket.socket | None = None
_server_pid: int | None = None
_lock = threading.Lock()


def start_server() -> None:
    """Fork the server. It ends with this process at the latest."""
    global _client, _server_pid
    _client, own = socket.socketpair()
    _server_pid = os.fork()
    if _server_pid:
        own.close()
        return
    _client.close()
    with suppress(BaseException):
        _serve(own)
    os._exit(0)


def stop_server() -> None:
    """End the server and all that it forked, which also counts their processor time."""
    global _client, _server_pid
    if _client is not None and _server_pid is not None:
        _client.close()
        os.waitpid(_server_pid, 0)
        _client = _server_pid = None


def prepare(function: Callable[..., object], *arguments: Any) -> None:
    """Call ``function`` in the server: forks have what it imports, loads or compiles.

    It must start no thread. The function and its arguments are pickled.
    """
    error = _ask("prepare", function, arguments)
    assert error is None, error


class Fork:
    """A process that calls a function and exits. Its pid, poll and wait are those of Popen."""

    def __init__(
        self,
        function: Callable[..., object],
        *arguments: Any,
        errors: Path | int,
        pipes: tuple[int, int] | None = None,
        new_session: bool = False,
    ) -> None:
        """``errors``, a path or an open file, gets the standard error. ``pipes`` are the standard
        input and output, which are empty without it. The exit code is that of SystemExit, and 1
        after another exception. The function and its arguments are pickled."""
        with ExitStack() as stack:
            if isinstance(errors, Path):
                errors = stack.enter_context(errors.open("wb")).fileno()
            streams = (errors, *(pipes or ()))
            self.pid: int = _ask("fork", function, arguments, new_session, files=streams)
        self._code: int | None = None

    def poll(self) -> int | None:
        """The exit code, or None while it runs; negative for a signal."""
        if self._code is None:
            self._code = _ask("poll", self.pid)
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


def _ask(*request: Any, files: Sequence[int] = ()) -> Any:
    assert _client is not None, "the server is started once the tests are collected"
    with _lock:
        _send(_client, request, files)
        return _receive(_client)[0]


def _send(connection: socket.socket, value: Any, files: Sequence[int] = ()) -> None:
    data = pickle.dumps(value)
    socket.send_fds(connection, [_LENGTH.pack(len(data))], files)
    connection.sendall(data)


def _receive(connection: socket.socket) -> tuple[Any, list[int]]:
    """:raises EOFError: the other end is closed."""
    header, files, _, _ = socket.recv_fds(connection, _LENGTH.size, 3)
    if not header:
        raise EOFError
    (rest,) = _LENGTH.unpack(header)
    data = b""
    while len(data) < rest:
        data += connection.recv(rest - len(data))
    return pickle.loads(data), files


def _serve(connection: socket.socket) -> None:
    """Answer requests until the other end is closed, then kill what still runs."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    running: set[int] = set()
    try:
        while True:
            (kind, *request), files = _receive(connection)
            answer: Any = None
            if kind == "prepare":
                function, arguments = request
                try:
                    function(*arguments)
                except BaseException:
                    answer = traceback.format_exc()
            elif kind == "poll":
                pid, status = os.waitpid(request[0], os.WNOHANG)
                if pid:
                    running.remove(pid)
                    answer = os.waitstatus_to_exitcode(status)
            else:
                answer = os.fork()
                if answer == 0:
                    connection.close()
                    function, arguments, new_session = request
                    _run(function, arguments, new_session, files)
                running.add(answer)
                for file in files:
                    os.close(file)
            _send(connection, answer)
    finally:
        for pid in running:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _run(
    function: Callable[..., object], arguments: Sequence[Any], new_session: bool, files: list[int]
) -> None:
    """Call ``function`` with streams and signal handlers of its own, then exit."""
    code = 1
    try:
        if new_session:
            os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDWR)
        errors, *pipes = files
        for number, opened in enumerate((*(pipes or (null, null)), errors)):
            os.dup2(opened, number)
        for opened in (null, *files):
            os.close(opened)
        sys.stdin, sys.stdout, sys.stderr = (
            open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            for number, mode in enumerate("rww")
        )
        faulthandler.enable()
        gc.freeze()  # a fork collects only its own objects
        function(*arguments)
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
