"""Which types cross by value besides the builtin containers, and how each is taken apart.

The tables may be added to, as :mod:`.arrays` does. It must not know bytes.
"""

import builtins
import datetime
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any


class WireError(Exception):
    """Bytes that are no value, or a value that cannot cross."""


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
    type({}.keys()): lambda value: ("dict_keys", (dict.fromkeys(value),)),
    type({}.items()): lambda value: ("dict_items", (dict(value),)),
    type({}.values()): lambda value: ("dict_values", (dict(enumerate(value)),)),
}
"""How a type is taken apart: its name on the wire, and values that cross."""

BUILDERS: dict[str, Callable[..., Any]] = {
    "Decimal": Decimal,
    "Fraction": Fraction,
    "date": datetime.date.fromisoformat,
    "timedelta": lambda days, seconds, micros: datetime.timedelta(days, seconds, micros),
    "slice": slice,
    "dict_keys": dict.keys,
    "dict_items": dict.items,
    "dict_values": dict.values,
}
"""Name on the wire → what puts the parts together. None of them runs code from the data."""


def _reduce_datetime(value: datetime.datetime) -> Parts:
    if value.tzinfo is not None and type(value.tzinfo) is not datetime.timezone:
        raise WireError("a datetime in a named time zone cannot cross")
    return "datetime", (value.isoformat(), value.fold)


REDUCERS[datetime.datetime] = _reduce_datetime
BUILDERS["datetime"] = lambda text, fold: datetime.datetime.fromisoformat(text).replace(fold=fold)
REDUCERS[datetime.time] = lambda value: ("time", (value.replace(tzinfo=None).isoformat(),))
BUILDERS["time"] = datetime.time.fromisoformat


def exception(name: str, text: str) -> BaseException:
    """The builtin exception of that name, or the nearest that takes a text alone.

    :raises WireError: when it is the name of none.
    """
    kind = BUILTIN_TYPES.get(name)
    if kind is None or not issubclass(kind, BaseException):
        raise WireError(f"{name!r} is no exception")
    if issubclass(kind, UnicodeError):  # those want five arguments
        kind = UnicodeError
    try:
        made: BaseException = kind(text)
    except TypeError:  # a group of exceptions wants its members
        made = (Exception if issubclass(kind, Exception) else BaseException)(text)
    return made


BASES: list[type] = []
"""Types of :data:`REDUCERS` whose subclasses cross as they do, the nearest first."""
