"""The standard streams of the program: those of the check, if the check replaces its own.

A check that captures ``sys.stdout`` gets what the program prints; one that replaces ``sys.stdin``
or ``builtins.input`` is asked for each line. Otherwise output is discarded, and input is empty.
Only text crosses.
"""

import builtins
import io
import sys
from collections.abc import Callable
from typing import Any

Request = Callable[..., Any]
_ORIGINAL = (sys.stdout, sys.stderr, sys.stdin)
_BUILTINS = {name: getattr(builtins, name) for name in ("input", "print")}


def replaced() -> tuple[str, ...]:
    """In the check's process: the streams and functions that the check has replaced."""
    now = (sys.stdout, sys.stderr, sys.stdin)
    names = ("stdout", "stderr", "stdin")
    found = [n for n, one, other in zip(names, now, _ORIGINAL, strict=True) if one is not other]
    found += [name for name, own in _BUILTINS.items() if getattr(builtins, name) is not own]
    return tuple(found)


def write_out(printed: Any) -> None:
    """In the check's process: give what the program printed to the check's own streams."""
    if type(printed) is not dict:
        return
    for name, text in printed.items():
        if name in ("stdout", "stderr") and name in replaced() and type(text) is str:
            getattr(sys, name).write(text)


def read_line() -> str:
    """In the check's process: the next line of the check's ``sys.stdin``; empty at its end."""
    return str(sys.stdin.readline()) if "stdin" in replaced() else ""


class _Output(io.RawIOBase):
    """Keeps what is written while the check captures it; else discards it."""

    def __init__(self, number: int) -> None:
        self.kept: bytearray | None = None
        self._number = number

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def write(self, data: Any) -> int:
        if self.kept is not None:
            self.kept += data
        return len(data)


class _Input(io.RawIOBase):
    """Asks the check for each line."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._rest = b""
        self.replaced = False

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 0

    def readinto(self, buffer: Any) -> int:
        if not self._rest and self.replaced:
            self._rest = str(self._request("readline")).encode("utf-8", "surrogatepass")
        part, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)


class Streams:
    """In the program's process: ``sys.stdin``, ``sys.stdout``, ``sys.stderr``, input and print."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._replaced: frozenset[str] = frozenset()
        self._raw = {"stdout": _Output(1), "stderr": _Output(2)}
        self._text = {}
        for name, raw in self._raw.items():
            self._text[name] = io.TextIOWrapper(
                io.BufferedWriter(raw), "utf-8", "surrogatepass", newline=""
            )
            setattr(sys, name, self._text[name])
            setattr(sys, f"__{name}__", self._text[name])
        self._input = _Input(request)
        sys.stdin = io.TextIOWrapper(io.BufferedReader(self._input), "utf-8", "surrogatepass")
        setattr(sys, "__stdin__", sys.stdin)  # noqa: B010
        for name, own in _BUILTINS.items():
            setattr(builtins, name, self._function(name, own))

    def _function(self, name: str, own: Callable[..., Any]) -> Callable[..., Any]:
        def function(*arguments: Any, **named: Any) -> Any:
            if name in self._replaced:
                return self._request(name, arguments, named)
            return own(*arguments, **named)

        function.__name__ = function.__qualname__ = name
        return function

    def drain(self) -> dict[str, str]:
        """Text printed since the last call, by stream, where the check captures it."""
        printed = {}
        for name, raw in self._raw.items():
            try:
                self._text[name].flush()
            except ValueError:  # the program has closed it
                continue
            if raw.kept:
                printed[name] = raw.kept.decode("utf-8", "replace")
                raw.kept.clear()
        return printed

    def follow(self, names: Any) -> None:
        """From now on capture or request what the check has replaced."""
        now = frozenset(names or ())
        if now == self._replaced:
            return
        self.drain()
        self._replaced = now
        self._input.replaced = "stdin" in now
        for name, raw in self._raw.items():
            raw.kept = bytearray() if name in now else None
