"""The check's process: runs the problem's test on the program's answers alone.

The test and the nonce are in this process and in no other, and none of the program's code runs in
it. What the program returns is data (:mod:`.codec`) or a :class:`.Remote`, which represents an
object over there. Equality with data is therefore decided here, by the types that the test expects.

What cannot be decided here, because it would take an object or a decision of the program, ends
as ``unjudged``. It must not know namespaces, limits or the host.
"""

import ast
import builtins
import copy
import dataclasses
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

from codeling.evaluation.sandbox.inside import operators, remote, streams
from codeling.evaluation.sandbox.inside.check_source import CheckSource
from codeling.evaluation.sandbox.inside.codec import exceptions
from codeling.evaluation.sandbox.inside.rpc import Link, PeerEnded, Refused, Unjudged

_ALIASES = {"np": "numpy", "pd": "pandas"}
_RUN_THERE: dict[Any, tuple[str, ...]] = {
    dataclasses: ("asdict", "astuple", "fields", "is_dataclass", "replace"),
    copy: ("copy", "deepcopy"),
    inspect: (
        "getdoc", "isasyncgen", "isasyncgenfunction", "isawaitable", "isclass", "iscoroutine",
        "iscoroutinefunction", "isfunction", "isgenerator", "isgeneratorfunction", "ismethod",
        "signature",
    ),
}  # fmt: skip
"""Functions of the standard library that are called in the program's process for its objects."""


class _CheckSide:
    """The check's end of the link: what may leave, and what the program may request."""

    def __init__(self, source: CheckSource) -> None:
        self.source = source
        self.doubt = ""
        self.failed_assertions = 0
        self.operations: dict[str, Callable[..., Any]] = {
            "call": self._call,
            "describe": self._describe,
            "next": self._next,
            "readline": streams.read_line,
            "input": lambda arguments, named: self._builtin("input", arguments, named),
            "print": lambda arguments, named: self._builtin("print", arguments, named),
        }

    def stand_in(self, link: Link, tag: str, number: int) -> Any:
        return remote.stand_in(link, tag, number)

    def attach(self, link: Link, number: int, value: Any) -> Any:
        return operators.attach(link, number, value)

    def number_of_theirs(self, value: Any) -> int | None:
        return remote.number_of(value)

    def tag(self, value: Any) -> str | None:
        """Functions, iterators and exception classes may leave; nothing else of the check."""
        if isinstance(value, type):
            return "k" if issubclass(value, BaseException) else None
        if isinstance(value, Iterator):
            return "w"
        return "h" if callable(value) else None

    def number_after_value(self, value: Any) -> bool:
        return False

    def unsendable(self, message: str) -> BaseException:
        self.doubt = self.doubt or message
        return Unjudged(message)

    def raised_by_check(self, error: BaseException) -> bool:
        return self.source.raises_itself(error)

    def outgoing(self) -> Any:
        return streams.replaced()

    def incoming(self, data: Any) -> None:
        streams.write_out(data)

    def _call(self, target: Any, arguments: Any, named: Any) -> Any:
        """The program's one request: to call a function that the check has passed to it."""
        if isinstance(target, type) or not callable(target):
            raise TypeError("the program calls something that is not one of the check's functions")
        try:
            return target(*arguments, **named)
        except AssertionError:
            # Its words stay here, and the check cannot pass any more.
            self.failed_assertions += 1
            raise AssertionError from None

    def _describe(self, target: Any, name: str) -> str:
        """The name of a function, for a decorator in the program."""
        if name not in ("__name__", "__qualname__", "__doc__"):
            raise AttributeError(name)
        return str(getattr(target, name, None) or "")

    def _next(self, target: Any) -> tuple[bool, Any]:
        if not isinstance(target, Iterator):
            raise TypeError("the program iterates over something that is not an iterator")
        for value in target:
            return True, value
        return False, None

    def _builtin(self, name: str, arguments: Any, named: Any) -> Any:
        if name not in streams.replaced():
            raise TypeError(f"the check has not replaced {name}")
        return getattr(builtins, name)(*arguments, **named)


class Names(dict[str, Any]):
    """The names of a check. A missing name is the program's, unless it is Python's own.

    ``candidate`` is the entry point, unless the check defines that name: a check can use it
    whatever other names it has. Modules are imported here under the name that the program imports
    them by, so that ``math.isclose`` in a check is Python's.
    """

    def __init__(self, link: Link, program: str, entry_point: str | None) -> None:
        super().__init__(__name__="check", __builtins__=builtins)
        self._link = link
        self._entry_point = entry_point
        self._modules = imported(program)
        self._own = {
            "type": _Type,
            **{
                name: _run_there("builtins", getattr(builtins, name))
                for name in ("callable", "vars")
            },
        }

    def __missing__(self, name: str) -> Any:
        if name.startswith("__"):
            raise KeyError(name)
        if name == "candidate" and self._entry_point is not None:
            name = self._entry_point
        if name != self._entry_point:
            if name in self._own:
                return self._own[name]
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
            return self._link.request("name", name)
        except NameError:
            raise KeyError(name) from None


def imported(program: str) -> dict[str, tuple[str, str | None]]:
    """The names that a program imports at its top level, each with its module and attribute.

    Only those that cannot deceive: ``import math``, ``import numpy as np``, ``from math import
    isclose``. Anything under a name of the program's choice remains the program's.
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


class _TypeMeta(type):
    def __call__(cls, *arguments: Any, **named: Any) -> Any:
        if cls is not _Type:
            return super().__call__(*arguments, **named)
        has_local_type = len(arguments) != 1 or isinstance(arguments[0], BaseException | type)
        if not has_local_type and remote.number_of(arguments[0]) is not None:
            return remote.request_about(arguments[0], "type")
        return type(*arguments, **named)

    def __instancecheck__(cls, value: Any) -> bool:
        return (
            isinstance(value, type | remote.RemoteClass)
            if cls is _Type
            else super().__instancecheck__(value)
        )


class _Type(type, metaclass=_TypeMeta):
    """``type`` as a check sees it: the type of a program's object is the program's class."""


def _run_there(module: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, called in the program's process where its first argument is an object there."""

    @wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        if arguments and remote.number_of(arguments[0]) is not None:
            name = function.__name__
            return remote.request_about(arguments[0], "library", module, name, arguments, named)
        return function(*arguments, **named)

    return call


def run_check(
    fd: int, limit: int, program: str, check: str, entry_point: str | None
) -> tuple[str, str]:
    """Run ``program`` in its process and ``check`` here: the outcome and its detail, one line."""
    try:
        source = CheckSource(check)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return "broken", f"the check is not Python: {_line(error)}"
    for module, names in _RUN_THERE.items():
        for name in names:
            setattr(module, name, _run_there(module.__name__, getattr(module, name)))
    side = _CheckSide(source)
    link = Link(fd, limit, side)
    has_run = False
    try:
        link.request("run", program)
        has_run = True
        exec(source.code, Names(link, program, entry_point))  # noqa: S102
    except PeerEnded:
        return "crashed", ""
    except Refused as error:
        return "refused", str(error)[:500]
    except Unjudged as error:
        return "unjudged", str(error)[:500]
    except MemoryError:
        return "out_of_memory", "MemoryError"
    except BaseException as error:  # whatever the check raises
        doubt = side.doubt or source.not_carried()
        if has_run and doubt and not isinstance(error, NameError):
            return _ended(link, "unjudged", f"{doubt}; {_where(error, source)}")
        return _ended(link, "failed", _where(error, source))
    if side.failed_assertions:
        return _ended(link, "unjudged", "the program catches one of the check's failed assertions")
    return _ended(link, "passed", "")


def _ended(link: Link, outcome: str, detail: str) -> tuple[str, str]:
    """``outcome``, unless the check has caught the error that ended the connection."""
    if isinstance(link.broken, Refused):
        return "refused", str(link.broken)[:500]
    if isinstance(link.broken, Unjudged):
        return "unjudged", str(link.broken)[:500]
    if link.broken is not None:
        return "crashed", ""
    return outcome, detail


def _line(error: BaseException) -> str:
    text = " ".join(exceptions.text_of(error).split())[:500]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _where(error: BaseException, source: CheckSource) -> str:
    """The exception in one line, with the line of the program or of the check."""
    place = vars(error).get("program_line") or source.line(error)
    return f"{_line(error)} ({place})" if place else _line(error)


if sys.flags.optimize:
    raise AssertionError("assertions are off")
