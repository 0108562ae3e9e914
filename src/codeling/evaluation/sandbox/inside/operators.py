"""The operators of the program's objects, under the rules of :mod:`.remote`."""

from collections.abc import Callable
from typing import Any

from codeling.evaluation.sandbox.inside.remote import (
    BY_DATA,
    BY_NUMBER,
    NUMBERS,
    Remote,
    Value,
    check_readable,
    number_of,
    request,
    state,
    unjudged,
)
from codeling.evaluation.sandbox.inside.rpc import Link

_BINARY = "add sub mul matmul truediv floordiv mod pow lshift rshift and xor or"
_UNARY = {
    "neg": None, "pos": None, "invert": None, "abs": None, "round": None,
    "float": float, "int": int, "complex": complex, "index": int,
    "trunc": None, "floor": None, "ceil": None,
}  # fmt: skip


def _equality(operation: str) -> Callable[[Remote, Any], Any]:
    def method(self: Remote, other: Any) -> Any:
        if number_of(other) is not None:
            check_readable(self, BY_DATA)
            return request(self, operation, self, other)
        if not state(self, "built"):
            return NotImplemented  # Python then compares identities
        base = request(self, "base", self)
        if not isinstance(base, Remote):
            return (base == other) is (operation == "eq")
        if (request(self, operation, self, other) is True) is (operation == "eq"):
            raise unjudged(self, "the program's own equality with plain data decides")
        return operation == "ne"

    return method


def _ordering(operation: str) -> Callable[[Remote, Any], Any]:
    def method(self: Remote, other: Any) -> Any:
        if number_of(other) is not None:
            return request(self, operation, self, other)
        if not state(self, "built"):
            return NotImplemented
        request(self, operation, self, other)
        raise unjudged(self, "the program's own order relative to plain data decides")

    return method


def _arithmetic(operation: str, reflected: bool) -> Callable[[Remote, Any], Any]:
    def method(self: Remote, other: Any) -> Any:
        operands = (other, self) if reflected else (self, other)
        result = request(self, operation, *operands)
        mixed = state(self, "mixed")
        if isinstance(other, Remote):
            mixed = max(mixed, state(other, "mixed"))
        elif number_of(other) is None:
            mixed = max(mixed, BY_NUMBER if type(other) in NUMBERS else BY_DATA)
        if mixed:
            _mark_mixed(self, result, mixed)
        return result

    return method


def _mark_mixed(remote: Remote, result: Any, mixed: int) -> None:
    if result is NotImplemented:
        return
    if not isinstance(result, Remote):
        raise unjudged(remote, "arithmetic of the program's object with plain data decides")
    object.__setattr__(result, "_remote_mixed", mixed)


def _conversion(operation: str, kind: Callable[[Any], Any] | None) -> Callable[..., Any]:
    def method(self: Remote, *arguments: Any) -> Any:
        result = request(self, operation, self, *arguments)
        if state(self, "mixed"):
            _mark_mixed(self, result, state(self, "mixed"))
        if isinstance(result, Remote):
            return result
        value = result if kind is None else kind(result)
        before = state(self, "seen").setdefault((operation, *map(repr, arguments)), repr(value))
        if before != repr(value):
            raise unjudged(self, f"the program's object converts to {before} and to {value!r}")
        return value

    return method


for _name in _BINARY.split():
    setattr(Remote, f"__{_name}__", _arithmetic(_name, False))
    setattr(Remote, f"__r{_name}__", _arithmetic(_name, True))
    setattr(Remote, f"__i{_name}__", _arithmetic(f"i{_name}", False))
for _name in ("eq", "ne"):
    setattr(Remote, f"__{_name}__", _equality(_name))
for _name in ("lt", "le", "gt", "ge"):
    setattr(Remote, f"__{_name}__", _ordering(_name))
for _name, _kind in _UNARY.items():
    setattr(Remote, f"__{_name}__", _conversion(_name, _kind))


def _value_arithmetic(base: type, operation: str) -> Callable[[Any, Any], Any]:
    """By the program's method with another of its objects, by the base type's with plain data."""
    plain = getattr(base, f"__{operation}__", None)

    def method(self: Any, other: Any) -> Any:
        if isinstance(other, Remote | Value):
            return request(self._remote, operation, self, other)
        return NotImplemented if plain is None else plain(self, other)

    return method


_VALUE_TYPES: dict[type, type] = {}
for _base in (int, float, complex, str, bytes, tuple, frozenset):
    _methods = {f"__{name}__": _value_arithmetic(_base, name) for name in _BINARY.split()}
    _VALUE_TYPES[_base] = type(_base.__name__, (Value, _base), _methods)


def attach(link: Link, number: int, value: Any) -> Any:
    """``value`` with the attributes of the program's object ``number``."""
    kind = _VALUE_TYPES[type(value)]
    made = kind(value)
    made._remote = link.resolve("h", number)
    return made
