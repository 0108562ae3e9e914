"""Shared by the encoder and the decoder: sizes, tags, and the table of objects."""

import struct
from collections import Counter, OrderedDict, defaultdict, deque
from typing import Any, NamedTuple, Protocol

LENGTH = struct.Struct("<I")
FLOAT = struct.Struct("<d")
COMPLEX = struct.Struct("<dd")
MAX_DEPTH = 400
"""Levels of nesting; below Python's recursion limit, so that exceeding it raises our own error."""
CONTAINERS: dict[str, type] = {
    "l": list,
    "d": dict,
    "S": set,
    "B": bytearray,
    "D": deque,
    "O": OrderedDict,
    "C": Counter,
    "q": defaultdict,
}
"""Tag → type of the containers, which are mutable and keep their identity within a message."""


class AsObject(NamedTuple):
    """An instance of a subclass that is to cross as an object and not by value."""

    value: Any


class Objects(Protocol):
    """Objects that do not cross by value, and their numbers."""

    def number_of_theirs(self, value: Any) -> int | None:
        """The number of an object of the other side; None for any other object."""

    def number(self, value: Any) -> tuple[str, int]:
        """Tag and number of one of our objects. :raises CodecError: it may not cross."""

    def number_after_value(self, value: Any) -> int | None:
        """The number that follows a value of a subclass; None where only the value crosses."""

    def resolve(self, tag: str, number: int) -> Any:
        """The object of a tag and a number."""

    def attach(self, number: int, value: Any) -> Any:
        """``value`` as the representative of the other side's object ``number``."""

    def exception_class(self, number: int, name: str, bases: tuple[Any, ...]) -> type:
        """The class that represents the other side's exception class ``number``."""
