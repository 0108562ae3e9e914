"""Bytes to values, in the format of :mod:`.format`. Decoding never runs the sender's code."""

import struct
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from codeling.evaluation.sandbox.inside.codec import exceptions
from codeling.evaluation.sandbox.inside.codec.format import (
    COMPLEX,
    CONTAINERS,
    FLOAT,
    LENGTH,
    MAX_DEPTH,
    Objects,
)
from codeling.evaluation.sandbox.inside.codec.value_types import BUILDERS, BUILTIN_TYPES, CodecError


class Decoder:
    """The bytes of one message to values.

    ``known`` are the containers of the message that this one answers.
    """

    def __init__(self, data: bytes, objects: Objects, known: Iterable[Any] = ()) -> None:
        self._data = data
        self._place = 0
        self._objects = objects
        self._known = list(known)
        self._depth = 0
        self._strings: list[str] = []
        self.containers: list[Any] = []

    def decode(self) -> Any:
        """The whole message.

        :raises CodecError: the bytes are not a value.
        """
        try:
            value = self._value()
        except CodecError:
            raise
        except RecursionError:
            raise CodecError("a value nested too deep") from None
        except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
            raise CodecError(f"not a value: {error}") from error
        if self._place != len(self._data):
            raise CodecError("something follows the value")
        return value

    def _value(self) -> Any:
        tag = chr(self._take(1)[0])
        self._depth += 1
        if self._depth > 2 * MAX_DEPTH:
            raise CodecError("a value nested too deep")
        read = _READERS.get(tag)
        value = read(self) if read else self._read_container(tag, None)
        self._depth -= 1
        return value

    def _take(self, count: int) -> bytes:
        start, self._place = self._place, self._place + count
        if self._place > len(self._data):
            raise CodecError("a value is cut off")
        return self._data[start : self._place]

    def _count(self) -> int:
        return int(LENGTH.unpack(self._take(4))[0])

    def _run(self) -> bytes:
        return self._take(self._count())

    def _integer(self) -> int:
        return int.from_bytes(self._run(), "little", signed=True)

    def _packed(self, letter: str) -> list[Any] | tuple[Any, ...]:
        tag = self._take(1)
        count = self._count()
        return self._of_kind(tag, struct.unpack(f"<{count}{letter}", self._take(8 * count)))

    def _packed_strings(self) -> list[Any] | tuple[Any, ...]:
        tag = self._take(1)
        for _ in range(self._count()):
            self._strings.append(self._run().decode("utf-8", "surrogatepass"))
        return self._of_kind(tag, tuple(map(self._strings.__getitem__, self._run())))

    def _of_kind(self, tag: bytes, values: tuple[Any, ...]) -> list[Any] | tuple[Any, ...]:
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
        if tag in "IFP":
            values = _READERS[tag](self)
            target[:] = values
            self.containers[-1] = target
            return target
        return self._read_container(tag, target)

    def _read_container(self, tag: str, target: Any) -> Any:
        kind = CONTAINERS.get(tag)
        if kind is None:
            raise CodecError(f"no value begins with {tag!r}")
        if target is None:
            target = kind()
        elif type(target) is not kind:
            raise CodecError("an answer changes the type of what it was given")
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
            raise CodecError(f"no value is called {name!r}")
        return BUILDERS[name](*parts)

    def _exception_class(self) -> type:
        number = self._count()
        name, where = (self._run().decode("utf-8", "replace") for _ in range(2))
        bases = self._value()
        known = exceptions.known_class(where)
        return known or self._objects.exception_class(number, name, tuple(bases))

    def _exception(self) -> BaseException:
        kind, number, parts = (self._value() for _ in range(3))
        remote = None if number is None else self._objects.resolve("h", number)
        return exceptions.build(kind, parts, remote)

    def _attached(self) -> Any:
        number = self._count()
        return self._objects.attach(number, self._value())


_READERS: Mapping[str, Callable[[Decoder], Any]] = {
    "N": lambda decoder: None,
    "e": lambda decoder: ...,
    "x": lambda decoder: NotImplemented,
    "T": lambda decoder: True,
    "f": lambda decoder: False,
    "i": Decoder._integer,
    "g": lambda decoder: FLOAT.unpack(decoder._take(8))[0],
    "c": lambda decoder: complex(*COMPLEX.unpack(decoder._take(16))),
    "s": lambda decoder: decoder._run().decode("utf-8", "surrogatepass"),
    "b": Decoder._run,
    "r": lambda decoder: range(*(decoder._value() for _ in range(3))),
    "I": lambda decoder: decoder._packed("q"),
    "F": lambda decoder: decoder._packed("d"),
    "P": lambda decoder: decoder._packed_strings(),
    "t": lambda decoder: tuple(decoder._items()),
    "Z": lambda decoder: frozenset(decoder._items()),
    "m": lambda decoder: decoder.containers[decoder._count()],
    "U": Decoder._update,
    "n": Decoder._named,
    "K": lambda decoder: BUILTIN_TYPES[decoder._run().decode()],
    "E": Decoder._exception_class,
    "X": Decoder._exception,
    "V": Decoder._attached,
    "h": lambda decoder: decoder._objects.resolve("h", decoder._count()),
    "k": lambda decoder: decoder._objects.resolve("k", decoder._count()),
    "w": lambda decoder: decoder._objects.resolve("w", decoder._count()),
    "H": lambda decoder: decoder._objects.resolve("H", decoder._count()),
}
