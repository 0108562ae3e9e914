"""Types that cross by value besides the builtin containers, and how each is taken apart.

The tables may be extended; :mod:`.arrays` does so. This module must not know the byte format.
"""

import builtins
import datetime
import ipaddress
import pathlib
import uuid
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any


class CodecError(Exception):
    """Bytes that are not a value, or a value that cannot cross."""


BUILTIN_TYPES = {name: value for name, value in vars(builtins).items() if isinstance(value, type)}
TYPE_NAMES = {value: name for name, value in BUILTIN_TYPES.items()}


Parts = tuple[str, tuple[Any, ...]]
REDUCERS: dict[type, Callable[[Any], Parts]] = {
    Decimal: lambda value: ("Decimal", (str(value),)),
    Fraction: lambda value: ("Fraction", (value.numerator, value.denominator)),
    datetime.date: lambda value: ("date", (value.isoformat(),)),
    datetime.timedelta: lambda value: (
        "timedelta",
        (value.days, value.seconds, value.microseconds),
    ),
    slice: lambda value: ("slice", (value.start, value.stop, value.step)),
    uuid.UUID: lambda value: ("UUID", (value.int,)),
    pathlib.PosixPath: lambda value: ("PosixPath", (str(value),)),
    pathlib.PurePosixPath: lambda value: ("PurePosixPath", (str(value),)),
    ipaddress.IPv4Address: lambda value: ("IPv4Address", (int(value),)),
    ipaddress.IPv6Address: lambda value: ("IPv6Address", (str(value),)),
    type({}.keys()): lambda value: ("dict_keys", (dict.fromkeys(value),)),
    type({}.items()): lambda value: ("dict_items", (dict(value),)),
    type({}.values()): lambda value: ("dict_values", (dict(enumerate(value)),)),
}
"""Type → its name in a message, and its parts, which are values that cross."""

BUILDERS: dict[str, Callable[..., Any]] = {
    "Decimal": Decimal,
    "Fraction": Fraction,
    "date": datetime.date.fromisoformat,
    "timedelta": lambda days, seconds, micros: datetime.timedelta(days, seconds, micros),
    "slice": slice,
    "UUID": lambda number: uuid.UUID(int=number),
    "PosixPath": pathlib.PosixPath,
    "PurePosixPath": pathlib.PurePosixPath,
    "IPv4Address": ipaddress.IPv4Address,
    "IPv6Address": ipaddress.IPv6Address,
    "dict_keys": dict.keys,
    "dict_items": dict.items,
    "dict_values": dict.values,
}
"""Name in a message → the constructor for its parts. None of them runs code from the data."""


def _reduce_datetime(value: datetime.datetime) -> Parts:
    if value.tzinfo is not None and type(value.tzinfo) is not datetime.timezone:
        raise CodecError("a datetime in a named time zone cannot cross")
    return "datetime", (value.isoformat(), value.fold)


REDUCERS[datetime.datetime] = _reduce_datetime
BUILDERS["datetime"] = lambda text, fold: datetime.datetime.fromisoformat(text).replace(fold=fold)
REDUCERS[datetime.time] = lambda value: ("time", (value.replace(tzinfo=None).isoformat(),))
BUILDERS["time"] = datetime.time.fromisoformat

BASES: list[type] = []
"""Types of :data:`REDUCERS` whose subclasses cross as that base, most derived first."""
