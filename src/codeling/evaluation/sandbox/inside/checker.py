"""The check's process: runs the problem's test, on the program's answers alone.

The test and the nonce are in this process and in no other, and nothing of the program's ever
runs in it. What the program gives back is data (:mod:`.wire`), or a :class:`Remote` that stands
for an object over there: so equality is decided here, by the types that the test expects.

It must not know namespaces, limits or the host.
"""

import ast
import builtins
import importlib
import sys
from collections.abc import Iterator
from typing import Any

from codeling.evaluation.sandbox.inside.rpc import Gone, Link, Refused

_ALIASES = {"np": "numpy", "pd": "pandas"}


class Remote:
    """Stands for an object in the program's process that is no plain value.

    It is equal to itself only, and a test of membership compares here. Its attributes, items
    and what it returns when called come from over there, as values.
    """

    __slots__ = ("_link", "_number")

    def __init__(self, link: Link, number: int) -> None:
        object.__setattr__(self, "_link", link)
        object.__setattr__(self, "_number", number)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call it, there."""
        return _ask(self, "call", self, arguments, named)

    def __getattr__(self, name: str) -> Any:
        if name in FOREIGN_ATTRIBUTES or (FOREIGN_ATTRIBUTES and name.startswith("_")):
            raise AttributeError(f"the program's object is not of the type that has {name!r}")
        return _ask(self, "getattr", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        _ask(self, "setattr", self, name, value)

    def __getitem__(self, key: Any) -> Any:
        return _ask(self, "getitem", self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        _ask(self, "setitem", self, key, value)

    def __iter__(self) -> Iterator[Any]:
        iterator = _ask(self, "iter", self)
        if not isinstance(iterator, Remote):
            raise TypeError("the program's iterator is none")
        while True:
            more, value = _pair(_ask(self, "next", iterator))
            if not more:
                return
            yield value

    def __next__(self) -> Any:
        more, value = _pair(_ask(self, "next", self))
        if not more:
            raise StopIteration
        return value

    def __contains__(self, wanted: Any) -> bool:
        return any(value is wanted or wanted == value for value in self)

    def __len__(self) -> int:
        return int(_ask(self, "len", self))

    def __bool__(self) -> bool:
        return _ask(self, "bool", self) is True

    def __str__(self) -> str:
        return str(_ask(self, "str", self))

    def __repr__(self) -> str:
        return str(_ask(self, "repr", self))

    def __dir__(self) -> list[str]:
        return [str(name) for name in _ask(self, "dir", self)]


FOREIGN_ATTRIBUTES: set[str] = set()
"""What numpy's and pandas' types have: an object that crossed as a :class:`Remote` is of none of
them, and its own ``equals`` decides nothing. Filled where those packages are loaded."""


def _ask(remote: Remote, operation: str, *operands: Any) -> Any:
    link: Link = object.__getattribute__(remote, "_link")
    return link.ask(operation, *operands)


def _pair(value: Any) -> tuple[bool, Any]:
    if type(value) is not tuple or len(value) != 2:
        raise Refused("an iterator without an answer")
    return value[0] is True, value[1]


def _number(value: Any) -> int | None:
    return object.__getattribute__(value, "_number") if type(value) is Remote else None


class Names(dict[str, Any]):
    """The names of a check. What is missing is the program's, unless it is Python's own.

    ``candidate`` is the entry point, unless the check defines that name: so a check can call it
    whatever names it has itself. Modules are imported here under the name that the program
    imports them by, so that ``math.isclose`` in a check is Python's.
    """

    def __init__(self, link: Link, program: str, entry_point: str | None) -> None:
        super().__init__(__name__="check", __builtins__=builtins)
        self._link = link
        self._entry_point = entry_point
        self._modules = imported(program)

    def __missing__(self, name: str) -> Any:
        if name.startswith("__"):
            raise KeyError(name)
        if name == "candidate" and self._entry_point is not None:
            name = self._entry_point
        if name != self._entry_point:
            if hasattr(builtins, name):
                raise KeyError(name)
            if name in self._modules:
                module, attribute = self._modules[name]
                try:
                    found = importlib.import_module(module)
                    return getattr(found, attribute) if attribute else found
                except (ImportError, AttributeError):
                    raise KeyError(name) from None
        try:
            return self._link.ask("name", name)
        except NameError:
            raise KeyError(name) from None


def imported(program: str) -> dict[str, tuple[str, str | None]]:
    """The names under which a program imports at its top level: to module and attribute.

    Only those that cannot deceive: ``import math``, ``import numpy as np``, ``from math import
    isclose``; anything under a name of the program's choice stays the program's.
    """
    try:
        tree = ast.parse(program)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    found: dict[str, tuple[str, str | None]] = {}
    for node in tree.body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.asname or alias.name
                plain = name == alias.name and "." not in name
                if plain or _ALIASES.get(name) == alias.name:
                    found[name] = (alias.name, None)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                if alias.asname in (None, alias.name) and alias.name != "*":
                    found[alias.name] = (node.module, alias.name)
    return found


def run_check(
    fd: int, limit: int, program: str, check: str, entry_point: str | None
) -> tuple[str, str]:
    """Run ``program`` over there and ``check`` here: the outcome and its one line."""
    try:
        code = compile(check, "<check>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return "broken", f"the check is no Python: {_line(error)}"
    link = Link(fd, limit, {"call": _call}, Remote, _number, _is_function)
    try:
        link.ask("run", program)
        exec(code, Names(link, program, entry_point))  # noqa: S102
    except Gone:
        return "crashed", ""
    except Refused as error:
        return "refused", str(error)[:500]
    except MemoryError:
        return "out_of_memory", "MemoryError"
    except BaseException as error:  # whatever the check raises
        return _ended(link, "failed", _where(error, check))
    return _ended(link, "passed", "")


def _ended(link: Link, outcome: str, detail: str) -> tuple[str, str]:
    """``outcome``, unless the program ended meanwhile and the check swallowed that."""
    if isinstance(link.broken, Refused):
        return "refused", str(link.broken)[:500]
    if link.broken is not None:
        return "crashed", ""
    return outcome, detail


def _is_function(value: Any) -> bool:
    return callable(value) and not isinstance(value, type)


def _call(target: Any, arguments: Any, named: Any) -> Any:
    """What the program may ask for: to call a function that the check has handed to it."""
    if not _is_function(target):
        raise TypeError("what the program calls is no function of the check's")
    return target(*arguments, **named)


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())[:500]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _where(error: BaseException, check: str) -> str:
    """The exception in one line, with the line of the program or of the check."""
    place = getattr(error, "where", "")
    trace = error.__traceback__
    lines = check.splitlines()
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<check>" and trace.tb_lineno <= len(lines):
            asked = f"check line {trace.tb_lineno}: {lines[trace.tb_lineno - 1].strip()[:200]}"
        trace = trace.tb_next
    try:
        return f"{_line(error)} ({place or asked})"
    except NameError:
        return _line(error)


if sys.flags.optimize:
    raise AssertionError("assertions are off")
