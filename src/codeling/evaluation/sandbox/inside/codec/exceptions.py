"""Exceptions across the process boundary: their classes, and one of them rebuilt from its parts.

An exception class of the standard library is the same class on both sides. A class that the other
side has defined is represented by a class of the same name and the same builtin bases, so that
``except Bad`` and ``isinstance`` decide by Python's own rules. Neither runs the sender's code.
"""

import contextlib
import sys
from typing import Any

from codeling.evaluation.sandbox.inside.codec.value_types import CodecError

_PACKAGES = {"numpy", "pandas"}
_RUNNERS = {"unittest", "doctest", "bdb", "test"}  # whose exceptions skip or end a test
MAX_TEXT = 2_000
"""Characters of an exception's text."""


class ForeignClass(type):
    """Metaclass of :class:`Foreign`; ``remote_class`` is the other side's class, or None."""

    remote_class: Any
    number: int

    def __call__(cls, *arguments: Any, **named: Any) -> Any:
        """Construct it on the other side, where its ``__init__`` is."""
        remote_class = cls.__dict__.get("remote_class")
        if remote_class is None:
            return super().__call__(*arguments, **named)
        return remote_class(*arguments, **named)

    def __getattr__(cls, name: str) -> Any:
        remote_class = cls.__dict__.get("remote_class")
        if remote_class is None or name.startswith("__"):
            raise AttributeError(name)
        return getattr(remote_class, name)


class Foreign(metaclass=ForeignClass):
    """Base of the classes that represent the other side's exception classes."""

    _text: str = ""
    _remote: Any = None

    def __str__(self) -> str:
        return self._text

    def __getattr__(self, name: str) -> Any:
        """Attributes that did not cross are looked up on the other side's exception."""
        if self._remote is None or name.startswith("__"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._remote, name)


def location(kind: type) -> str:
    """``module:name`` of a class of the standard library, else the empty string."""
    name, module = getattr(kind, "__qualname__", ""), getattr(kind, "__module__", "")
    if isinstance(name, str) and isinstance(module, str) and _importable(module, name) is kind:
        return f"{module}:{name}"
    return ""


def _importable(module: str, name: str) -> Any:
    """The object of that name in a module that is loaded and of the standard library, or None."""
    top = module.partition(".")[0]
    if top in _RUNNERS or not (top in sys.stdlib_module_names or top in _PACKAGES):
        return None
    return getattr(sys.modules.get(module), name, None)


def known_class(where: str) -> type[BaseException] | None:
    """The exception class that :func:`location` describes, where this process has loaded it."""
    module, _, name = where.partition(":")
    found = _importable(module, name) if name else None
    return found if isinstance(found, type) and issubclass(found, BaseException) else None


def foreign_class(name: str, bases: tuple[Any, ...], number: int, remote_class: Any) -> type:
    """A class that represents the other side's exception class ``number``.

    :raises CodecError: Python allows no such class.
    """
    kinds: tuple[type, ...] = tuple(
        base for base in bases if isinstance(base, type) and issubclass(base, BaseException)
    )
    if not kinds:
        raise CodecError(f"{name!r} is not an exception class")
    if not any(issubclass(kind, Foreign) for kind in kinds):
        kinds = (Foreign, *kinds)
    try:
        return ForeignClass(name, kinds, {"number": number, "remote_class": remote_class})
    except TypeError as error:
        raise CodecError(f"{name!r} cannot be a class: {error}") from None


def number_of_foreign(value: Any) -> int | None:
    """The other side's number of a class that represents one of its classes."""
    return value.__dict__.get("number") if type(value) is ForeignClass else None


def build(kind: Any, parts: Any, remote: Any) -> BaseException:
    """An exception of class ``kind`` from ``(args, text, attributes, cause)``.

    :raises CodecError: the parts are not those of an exception.
    """
    if not (isinstance(kind, type) and issubclass(kind, BaseException)):
        raise CodecError("an exception of a class that is not an exception class")
    if type(parts) is not tuple or list(map(type, parts[:3])) != [tuple, str, dict]:
        raise CodecError("not the parts of an exception")
    args, text, attributes, cause = parts
    error = _construct(kind, args, text)
    error.__dict__.update({k: v for k, v in attributes.items() if type(k) is str})
    if isinstance(error, Foreign):
        error._text, error._remote = text, remote
    if isinstance(cause, BaseException):
        error.__cause__ = cause
    return error


def _construct(kind: type[BaseException], args: tuple[Any, ...], text: str) -> BaseException:
    """Builtin classes by their constructor, which sets ``errno`` and the like; others without."""
    try:
        if kind.__module__ == "builtins":
            return kind(*args)
        return kind.__new__(kind, *args)
    except Exception:  # the constructor wants other arguments than it kept in args
        made = _with_text(kind, text)
    if made is None:
        raise CodecError(f"no {kind.__name__} can be made")
    return made


def _with_text(kind: type[BaseException], text: str) -> BaseException | None:
    """An exception of the nearest base that can be made from a text alone."""
    for base in kind.__mro__:
        with contextlib.suppress(Exception):
            return base(text) if base.__module__ == "builtins" else kind.__new__(kind, text)
    return None


def text_of(error: BaseException) -> str:
    """``str(error)``, bounded; empty where its own ``__str__`` fails."""
    try:
        return str.__str__(str(error))[:MAX_TEXT]
    except Exception:
        return ""


def program_line(error: BaseException) -> str:
    """The innermost line of the program in the traceback, for people."""
    place = ""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<program>":
            place = f"program line {trace.tb_lineno}"
        trace = trace.tb_next
    return place
