"""Values to bytes, in the format of :mod:`.format`."""

import struct
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Any

from codeling.evaluation.sandbox.inside.codec import exceptions
from codeling.evaluation.sandbox.inside.codec.format import (
    COMPLEX,
    CONTAINERS,
    FLOAT,
    LENGTH,
    MAX_DEPTH,
    AsObject,
    Objects,
)
from codeling.evaluation.sandbox.inside.codec.value_types import (
    BASES,
    REDUCERS,
    TYPE_NAMES,
    CodecError,
)

_MAX_CAUSES = 8
_MAX_PACKED_CHARACTERS = 64  # of a string; a long one counts in full toward the size of a message
_CONTAINER_TAGS = {kind: tag for tag, kind in CONTAINERS.items()}
_BASES = (
    *(defaultdict, Counter, OrderedDict, deque, bytearray, set, dict, list),
    *(int, float, complex, str, bytes, tuple, frozenset),
)


class ValueEncoder:
    """Values to the bytes of one message.

    ``known`` are the containers of the message that is answered, in its order.
    """

    def __init__(self, objects: Objects, known: Iterable[Any] = ()) -> None:
        self._objects = objects
        self._causes = 0
        self._known = {id(value): place for place, value in enumerate(known)}
        self._seen: dict[int, int] = {}
        self._strings: dict[str, int] = {}
        self._depth = 0
        self.containers: list[Any] = []
        self.data = bytearray()

    def encode(self, value: Any) -> "ValueEncoder":
        """Append ``value`` to the message."""
        kind = type(value)
        if write := _WRITERS.get(kind):
            write(self, value)
            return self
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise CodecError(f"a value nested more than {MAX_DEPTH} deep cannot cross")
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
        elif (theirs := self._objects.number_of_theirs(value)) is not None:
            self.data += b"H" + LENGTH.pack(theirs)
        elif kind is AsObject:
            tag, number = self._objects.number(value.value)
            self.data += tag.encode() + LENGTH.pack(number)
        elif isinstance(value, type):
            self._class(value)
        elif isinstance(value, BaseException):
            self._exception(value)
        else:
            self._other(value)
        self._depth -= 1
        return self

    def _class(self, value: type) -> None:
        if value in TYPE_NAMES:
            self._text(b"K", TYPE_NAMES[value])
            return
        tag, number = self._objects.number(value)
        if issubclass(value, BaseException):
            self.data += b"E" + LENGTH.pack(number)
            self._text(b"", value.__name__)
            self._text(b"", exceptions.location(value))
            bases = [base for base in value.__bases__ if issubclass(base, BaseException)]
            self.encode(tuple(bases))
        else:
            self.data += tag.encode() + LENGTH.pack(number)

    def _exception(self, error: BaseException) -> None:
        """Class, number or None, and (args, text, attributes, cause)."""
        self.data += b"X"
        self.encode(type(error))
        own = type(error) not in TYPE_NAMES
        self.encode(self._objects.number_after_value(error) if own else None)
        text = exceptions.text_of(error)
        self.data += b"t" + LENGTH.pack(4)
        args = tuple(error.args)
        if isinstance(error, OSError) and error.filename is not None and len(args) == 2:
            args = (*args, error.filename)  # args does not have it, and the constructor takes it
        self._encode_or(args, (text,))
        self._text(b"s", text)
        self._encode_or(dict(getattr(error, "__dict__", ())), {})
        self._causes += 1
        cause = error.__cause__ if self._causes <= _MAX_CAUSES else None
        self._encode_or(cause, None)
        self._causes -= 1

    def _encode_or(self, value: Any, fallback: Any) -> None:
        """Append ``value``, or ``fallback`` where it cannot cross."""
        size, count, depth = len(self.data), len(self.containers), self._depth
        seen, strings = dict(self._seen), dict(self._strings)
        try:
            self.encode(value)
        except CodecError:
            del self.data[size:], self.containers[count:]
            self._depth, self._seen, self._strings = depth, seen, strings
            self.encode(fallback)

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
                    immutable = base not in _CONTAINER_TAGS
                    if (
                        immutable
                        and (number := self._objects.number_after_value(value)) is not None
                    ):
                        self.data += b"V" + LENGTH.pack(number)
                    self.encode(_as_base(value, base))
                    return
        tag, number = self._objects.number(value)
        self.data += tag.encode() + LENGTH.pack(number)

    def _text(self, tag: bytes, text: str) -> None:
        encoded = text.encode("utf-8", "surrogatepass")
        self.data += tag + LENGTH.pack(len(encoded)) + encoded

    def _bytes(self, tag: bytes, data: bytes) -> None:
        self.data += tag + LENGTH.pack(len(data)) + data

    def _sequence(self, tag: bytes, values: Any) -> None:
        """Numbers of one type, and few different strings, are packed: as fast as copying memory."""
        if len(values) > 8 and tag in (b"l", b"t"):
            kinds = set(map(type, values))
            if kinds == {float}:
                self.data += b"F" + tag + LENGTH.pack(len(values))
                self.data += struct.pack(f"<{len(values)}d", *values)
                return
            if kinds == {int} and min(values) >= -(2**63) and max(values) < 2**63:
                self.data += b"I" + tag + LENGTH.pack(len(values))
                self.data += struct.pack(f"<{len(values)}q", *values)
                return
            if kinds == {str} and self._strings_packed(tag, values):
                return
        self.data += tag + LENGTH.pack(len(values))
        for value in values:
            self.encode(value)

    def _strings_packed(self, tag: bytes, values: Any) -> bool:
        """Write one byte for each string, after those that are new in the message's table."""
        different = dict.fromkeys(values)
        if max(map(len, different)) > _MAX_PACKED_CHARACTERS:
            return False
        new = [text for text in different if text not in self._strings]
        if 2 * len(different) > len(values) or len(self._strings) + len(new) > 256:
            return False
        self.data += b"P" + tag + LENGTH.pack(len(new))
        for text in new:
            self._strings[text] = len(self._strings)
            self._text(b"", text)
        self._bytes(b"", bytes(map(self._strings.__getitem__, values)))
        return True

    def _container(self, value: Any, tag: str) -> None:
        if id(value) in self._seen:
            self.data += b"m" + LENGTH.pack(self._seen[id(value)])
            return
        self._seen[id(value)] = len(self.containers)
        self.containers.append(value)
        if id(value) in self._known:
            self.data += b"U" + LENGTH.pack(self._known[id(value)])
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
            self.data += LENGTH.pack(len(value))
            for key, inner in dict.items(value):
                self.encode(key)
                self.encode(inner)


def _write_int(encoder: ValueEncoder, value: int) -> None:
    size = value.bit_length() // 8 + 1
    encoder._bytes(b"i", value.to_bytes(size, "little", signed=True))


def _write_range(encoder: ValueEncoder, value: range) -> None:
    encoder.data += b"r"
    for part in (value.start, value.stop, value.step):
        _write_int(encoder, part)


def _constant(tag: bytes) -> Callable[[ValueEncoder, Any], None]:
    def write(encoder: ValueEncoder, value: Any) -> None:
        encoder.data += tag

    return write


def _write_bool(encoder: ValueEncoder, value: bool) -> None:
    encoder.data += b"T" if value else b"f"


_WRITERS: dict[type, Callable[[ValueEncoder, Any], None]] = {
    type(None): _constant(b"N"),
    type(...): _constant(b"e"),
    type(NotImplemented): _constant(b"x"),
    bool: _write_bool,
    int: _write_int,
    range: _write_range,
    float: lambda encoder, value: encoder.data.extend(b"g" + FLOAT.pack(value)),
    complex: lambda encoder, value: encoder.data.extend(
        b"c" + COMPLEX.pack(value.real, value.imag)
    ),
    str: lambda encoder, value: encoder._text(b"s", value),
    bytes: lambda encoder, value: encoder._bytes(b"b", value),
}


def _as_base(value: Any, base: Any) -> Any:
    """The value of type ``base`` that an instance of a subclass holds."""
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
