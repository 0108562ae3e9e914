"""Python values as bytes and back, between a check and the program that it checks.

Only data crosses by value: exact builtin types, and those that :mod:`.kinds` lists. A subclass
crosses as its base, so an ``__eq__`` of its own stays where it is. Anything else crosses as a
number in the sender's table of objects. Decoding runs no code of the sender's.

Lists, dicts and sets keep their identity within a message, and an answer may fill those of the
question anew: so a function may sort the list that it was given.

It must not know which side it is on, nor any file or process.
"""

import struct
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from codeling.evaluation.sandbox.inside.value_types import (
    BASES,
    BUILDERS,
    BUILTIN_TYPES,
    REDUCERS,
    TYPE_NAMES,
    WireError,
    exception,
)

_LENGTH = struct.Struct("<I")
_FLOAT = struct.Struct("<d")
_COMPLEX = struct.Struct("<dd")
_MAX_DEPTH = 400  # below the recursion limit, so that too deep is an error of this module

_CONTAINERS: dict[str, type] = {
    "l": list,
    "d": dict,
    "S": set,
    "B": bytearray,
    "D": deque,
    "O": OrderedDict,
    "C": Counter,
    "q": defaultdict,
}
_CONTAINER_TAGS = {kind: tag for tag, kind in _CONTAINERS.items()}
_BASES = (
    *(defaultdict, Counter, OrderedDict, deque, bytearray, set, dict, list),
    *(int, float, complex, str, bytes, tuple, frozenset),
)


class Encoder:
    """Values to the bytes of one message.

    ``number_of`` gives what does not cross by value a number, or objects to it. ``known`` are
    the containers of the message that is answered, in its order.
    """

    def __init__(
        self, number_of: Callable[[Any], tuple[str, int]], known: Iterable[Any] = ()
    ) -> None:
        self._number_of = number_of
        self._known = {id(value): place for place, value in enumerate(known)}
        self._seen: dict[int, int] = {}
        self._depth = 0
        self.containers: list[Any] = []
        self.data = bytearray()

    def encode(self, value: Any) -> "Encoder":
        """Append ``value``."""
        kind = type(value)
        if write := _WRITERS.get(kind):
            write(self, value)
            return self
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise WireError(f"a value nested more than {_MAX_DEPTH} deep cannot cross")
        if kind in _CONTAINER_TAGS:
            self._container(value, _CONTAINER_TAGS[kind])
        elif kind is tuple:
            self._sequence(b"t", value)
        elif kind is frozenset:
            self._sequence(b"Z", value)
        elif kind in REDUCERS:
            name, parts = REDUCERS[kind](value)
            self._text(b"n", name)
            self.encode(parts)
        elif isinstance(value, type) and value in TYPE_NAMES:
            self._text(b"K", TYPE_NAMES[value])
        elif isinstance(value, BaseException) and type(value) in TYPE_NAMES:
            self._text(b"X", type(value).__name__)
            self._text(b"", str(value))
        else:
            self._other(value)
        self._depth -= 1
        return self

    def _other(self, value: Any) -> None:
        if not isinstance(value, type):
            for base in BASES:
                if isinstance(value, base):
                    name, parts = REDUCERS[base](value)
                    self._text(b"n", name)
                    self.encode(parts)
                    return
            for base in _BASES:
                if isinstance(value, base):
                    self.encode(_as_base(value, base))
                    return
        tag, number = self._number_of(value)
        self.data += tag.encode() + _LENGTH.pack(number)

    def _text(self, tag: bytes, text: str) -> None:
        encoded = text.encode("utf-8", "surrogatepass")
        self.data += tag + _LENGTH.pack(len(encoded)) + encoded

    def _bytes(self, tag: bytes, data: bytes) -> None:
        self.data += tag + _LENGTH.pack(len(data)) + data

    def _sequence(self, tag: bytes, values: Any) -> None:
        """Many numbers of one kind are packed: that is as fast as a memory copy."""
        if len(values) > 8 and tag in (b"l", b"t"):
            kinds = set(map(type, values))
            if kinds == {float}:
                self.data += b"F" + tag + _LENGTH.pack(len(values))
                self.data += struct.pack(f"<{len(values)}d", *values)
                return
            if kinds == {int} and min(values) >= -(2**63) and max(values) < 2**63:
                self.data += b"I" + tag + _LENGTH.pack(len(values))
                self.data += struct.pack(f"<{len(values)}q", *values)
                return
        self.data += tag + _LENGTH.pack(len(values))
        for value in values:
            self.encode(value)

    def _container(self, value: Any, tag: str) -> None:
        if id(value) in self._seen:
            self.data += b"m" + _LENGTH.pack(self._seen[id(value)])
            return
        self._seen[id(value)] = len(self.containers)
        self.containers.append(value)
        if id(value) in self._known:
            self.data += b"U" + _LENGTH.pack(self._known[id(value)])
        if tag == "B":
            self._bytes(b"B", bytes(value))
            return
        if tag == "D":
            self.data += b"D"
            self.encode(value.maxlen)
            self._sequence(b"t", tuple(value))
        elif tag in "lS":
            self._sequence(tag.encode(), value)
        else:
            self.data += tag.encode()
            if tag == "q":
                self.encode(value.default_factory)
            self.data += _LENGTH.pack(len(value))
            for key, inner in dict.items(value):
                self.encode(key)
                self.encode(inner)


def _write_int(encoder: Encoder, value: int) -> None:
    size = value.bit_length() // 8 + 1
    encoder._bytes(b"i", value.to_bytes(size, "little", signed=True))


def _write_range(encoder: Encoder, value: range) -> None:
    encoder.data += b"r"
    for part in (value.start, value.stop, value.step):
        _write_int(encoder, part)


def _constant(tag: bytes) -> Callable[[Encoder, Any], None]:
    def write(encoder: Encoder, value: Any) -> None:
        encoder.data += tag

    return write


def _write_bool(encoder: Encoder, value: bool) -> None:
    encoder.data += b"T" if value else b"f"


_WRITERS: dict[type, Callable[[Encoder, Any], None]] = {
    type(None): _constant(b"N"),
    type(...): _constant(b"e"),
    type(NotImplemented): _constant(b"x"),
    bool: _write_bool,
    int: _write_int,
    range: _write_range,
    float: lambda encoder, value: encoder.data.extend(b"g" + _FLOAT.pack(value)),
    complex: lambda encoder, value: encoder.data.extend(
        b"c" + _COMPLEX.pack(value.real, value.imag)
    ),
    str: lambda encoder, value: encoder._text(b"s", value),
    bytes: lambda encoder, value: encoder._bytes(b"b", value),
}


def _as_base(value: Any, base: Any) -> Any:
    """What of an instance of a subclass belongs to ``base``."""
    if base is int:
        return int.__int__(value)
    if base is float:
        return float.__float__(value)
    if base is str:
        return str.__str__(value)
    if base in (list, tuple, set, frozenset):
        return base(base.__iter__(value))
    if base is defaultdict:
        return defaultdict(value.default_factory, dict.items(value))
    if base is deque:
        return deque(deque.__iter__(value), value.maxlen)
    return base(dict.items(value)) if issubclass(base, dict) else base(value)


class Decoder:
    """The bytes of one message to values.

    ``object_of`` gives the object for a number. ``known`` are the containers of the message that
    this one answers.
    """

    def __init__(
        self, data: bytes, object_of: Callable[[str, int], Any], known: Iterable[Any] = ()
    ) -> None:
        self._data = data
        self._place = 0
        self._object_of = object_of
        self._known = list(known)
        self._depth = 0
        self.containers: list[Any] = []

    def decode(self) -> Any:
        """The whole message.

        :raises WireError: for bytes that are no value.
        """
        try:
            value = self._value()
        except WireError:
            raise
        except RecursionError:
            raise WireError("a value nested too deep") from None
        except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
            raise WireError(f"not a value: {error}") from error
        if self._place != len(self._data):
            raise WireError("something follows the value")
        return value

    def _value(self) -> Any:
        tag = chr(self._take(1)[0])
        self._depth += 1
        if self._depth > 2 * _MAX_DEPTH:
            raise WireError("a value nested too deep")
        read = _READERS.get(tag)
        value = read(self) if read else self._read_container(tag, None)
        self._depth -= 1
        return value

    def _take(self, count: int) -> bytes:
        start, self._place = self._place, self._place + count
        if self._place > len(self._data):
            raise WireError("a value is cut off")
        return self._data[start : self._place]

    def _count(self) -> int:
        return int(_LENGTH.unpack(self._take(4))[0])

    def _run(self) -> bytes:
        return self._take(self._count())

    def _integer(self) -> int:
        return int.from_bytes(self._run(), "little", signed=True)

    def _packed(self, letter: str) -> list[Any] | tuple[Any, ...]:
        tag = self._take(1)
        count = self._count()
        values = struct.unpack(f"<{count}{letter}", self._take(8 * count))
        if tag == b"t":
            return values
        made = list(values)
        self.containers.append(made)
        return made

    def _items(self) -> list[Any]:
        return [self._value() for _ in range(self._count())]

    def _update(self) -> Any:
        target = self._known[self._count()]
        tag = chr(self._take(1)[0])
        if tag in "IF":
            values = self._packed("q" if tag == "I" else "d")
            target[:] = values
            self.containers[-1] = target
            return target
        return self._read_container(tag, target)

    def _read_container(self, tag: str, target: Any) -> Any:
        kind = _CONTAINERS.get(tag)
        if kind is None:
            raise WireError(f"no value begins with {tag!r}")
        if target is None:
            target = kind()
        elif type(target) is not kind:
            raise WireError("an answer changes the type of what it was given")
        self.containers.append(target)
        if tag == "B":
            target[:] = self._run()
        elif tag == "l":
            target[:] = self._items()
        elif tag == "S":
            items = self._items()
            target.clear()
            target.update(items)
        elif tag == "D":
            maxlen = self._value()
            if maxlen != target.maxlen:
                target = self.containers[-1] = deque(maxlen=maxlen)
            items = self._value()
            target.clear()
            target.extend(items)
        else:
            if tag == "q":
                factory = self._value()
                target.default_factory = factory if callable(factory) else None
            pairs = [(self._value(), self._value()) for _ in range(self._count())]
            target.clear()
            dict.update(target, pairs)
            if tag == "O":  # dict.update goes past the order that OrderedDict keeps
                target.clear()
                for key, value in pairs:
                    target[key] = value
        return target

    def _named(self) -> Any:
        name = self._run().decode()
        parts = self._value()
        if name not in BUILDERS or type(parts) is not tuple:
            raise WireError(f"no value is called {name!r}")
        return BUILDERS[name](*parts)

    def _exception(self) -> BaseException:
        kind = BUILTIN_TYPES[self._run().decode()]
        return exception(kind.__name__, self._run().decode("utf-8", "replace"))


_READERS: Mapping[str, Callable[[Decoder], Any]] = {
    "N": lambda decoder: None,
    "e": lambda decoder: ...,
    "x": lambda decoder: NotImplemented,
    "T": lambda decoder: True,
    "f": lambda decoder: False,
    "i": Decoder._integer,
    "g": lambda decoder: _FLOAT.unpack(decoder._take(8))[0],
    "c": lambda decoder: complex(*_COMPLEX.unpack(decoder._take(16))),
    "s": lambda decoder: decoder._run().decode("utf-8", "surrogatepass"),
    "b": Decoder._run,
    "r": lambda decoder: range(*(decoder._value() for _ in range(3))),
    "I": lambda decoder: decoder._packed("q"),
    "F": lambda decoder: decoder._packed("d"),
    "t": lambda decoder: tuple(decoder._items()),
    "Z": lambda decoder: frozenset(decoder._items()),
    "m": lambda decoder: decoder.containers[decoder._count()],
    "U": Decoder._update,
    "n": Decoder._named,
    "K": lambda decoder: BUILTIN_TYPES[decoder._run().decode()],
    "X": Decoder._exception,
    "h": lambda decoder: decoder._object_of("h", decoder._count()),
    "H": lambda decoder: decoder._object_of("H", decoder._count()),
}
