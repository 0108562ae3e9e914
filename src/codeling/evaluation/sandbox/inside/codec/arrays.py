"""numpy's and pandas' types by value: arrays, scalars, series, frames, indexes.

They cross as numbers, text and plain containers, and are rebuilt by the packages' own
constructors. An array of objects crosses element by element. Any other type, such as a groupby or
a rolling window, does not cross, and none of its methods decides anything.

This module must not know sockets or processes. Both packages are optional.
"""

import importlib
from collections.abc import Callable
from typing import Any

from codeling.evaluation.sandbox.inside.codec.value_types import (
    BASES,
    BUILDERS,
    BUILTIN_TYPES,
    REDUCERS,
    TYPE_NAMES,
    CodecError,
)


def register(packages: list[str]) -> set[str]:
    """Add the packages' types to the tables. Returns their public attributes."""
    kinds: list[type] = []
    if {"numpy", "pandas"} & set(packages):
        kinds += _numpy(importlib.import_module("numpy"))
    if "pandas" in packages:
        kinds += _pandas(importlib.import_module("pandas"))
    return {name for kind in kinds for name in dir(kind) if not name.startswith("_")}


def _by_value(kind: type, name: str, reduce: Callable[[Any], Any], build: Any) -> None:
    """``reduce`` returns the parts as a tuple; ``build`` takes them as arguments."""
    REDUCERS[kind] = lambda value: (name, reduce(value))
    BUILDERS[name] = build


def _name_type(kind: type, name: str) -> None:
    TYPE_NAMES.setdefault(kind, name)
    BUILTIN_TYPES.setdefault(name, kind)


def _numpy(np: Any) -> list[type]:
    descr_to_dtype = np.lib.format.descr_to_dtype

    def parts(array: Any) -> tuple[Any, ...]:
        if array.dtype == object:
            return None, array.shape, array.reshape(-1).tolist()
        if array.dtype.hasobject or array.dtype.kind == "T":
            raise CodecError(f"an array of {array.dtype} cannot cross")
        return np.lib.format.dtype_to_descr(array.dtype), array.shape, array.tobytes()

    def build(descr: Any, shape: tuple[int, ...], data: Any) -> Any:
        if descr is None:
            array = np.empty(len(data), dtype=object)
            for place, value in enumerate(data):
                array[place] = value
            return array.reshape(shape)
        dtype = descr_to_dtype(descr)
        if dtype.hasobject:
            raise CodecError("an array of objects cannot be built from bytes")
        return np.frombuffer(data, dtype).reshape(shape).copy()

    def masked(array: Any) -> tuple[Any, ...]:
        return np.asarray(array.data), np.ma.getmaskarray(array), array.fill_value

    def build_masked(data: Any, mask: Any, fill_value: Any) -> Any:
        return np.ma.MaskedArray(data, mask, fill_value=fill_value)

    _by_value(np.ndarray, "np.ndarray", parts, build)
    _by_value(np.matrix, "np.matrix", lambda value: (np.asarray(value),), np.matrix)
    _by_value(np.ma.MaskedArray, "np.ma", masked, build_masked)
    _by_value(
        np.dtype,
        "np.dtype",
        lambda value: (np.lib.format.dtype_to_descr(value),),
        descr_to_dtype,
    )
    for kind in {*np.sctypeDict.values(), np.void} - {np.object_}:
        _by_value(
            kind,
            "np.scalar",
            lambda value: parts(np.asarray(value)),
            lambda *scalar: build(*scalar)[()],
        )
        _name_type(kind, f"np.{kind.__name__}")
    _name_type(np.ndarray, "np.ndarray")
    BASES.extend((np.ma.MaskedArray, np.matrix, np.ndarray, np.dtype))
    return [np.ndarray, np.matrix, np.ma.MaskedArray, np.dtype, np.float64]


def _pandas(pd: Any) -> list[type]:
    def moment(value: Any) -> tuple[Any, ...]:
        return value.to_datetime64(), str(value.tz) if value.tz is not None else None

    def build_moment(value: Any, zone: str | None) -> Any:
        made = pd.Timestamp(value)
        return made if zone is None else made.tz_localize("UTC").tz_convert(zone)

    for kind, name in ((type(pd.NaT), "NaT"), (type(pd.NA), "NA")):
        _by_value(kind, f"pd.{name}", lambda value: (), lambda name=name: getattr(pd, name))
    _by_value(pd.Timestamp, "pd.Timestamp", moment, build_moment)
    _by_value(pd.Timedelta, "pd.Timedelta", lambda value: (value.to_timedelta64(),), pd.Timedelta)
    _by_value(
        pd.Period,
        "pd.Period",
        lambda value: (value.ordinal, value.freqstr),
        lambda ordinal, freq: pd.Period(ordinal=ordinal, freq=freq),
    )
    _by_value(
        pd.Interval,
        "pd.Interval",
        lambda value: (value.left, value.right, value.closed),
        pd.Interval,
    )
    _pandas_arrays(pd)
    _pandas_indexes(pd)

    def series(value: Any) -> tuple[Any, ...]:
        return _plain(value.array), value.index, value.name

    def build_series(array: Any, index: Any, name: Any) -> Any:
        return pd.Series(array, index=index, dtype=array.dtype, name=name)

    def frame(value: Any) -> tuple[Any, ...]:
        columns = [_plain(value.iloc[:, place].array) for place in range(value.shape[1])]
        return columns, value.columns, value.index

    def build_frame(columns: list[Any], names: Any, index: Any) -> Any:
        data = {place: build_series(array, index, None) for place, array in enumerate(columns)}
        made = pd.DataFrame(data, index=index)
        made.columns = names
        return made

    _by_value(pd.Series, "pd.Series", series, build_series)
    _by_value(pd.DataFrame, "pd.DataFrame", frame, build_frame)
    for name in ("DataFrame", "Series", "Index", "Timestamp", "Timedelta"):
        _name_type(getattr(pd, name), f"pd.{name}")
    BASES.extend((pd.DataFrame, pd.Series))
    return [pd.DataFrame, pd.Series, pd.Index, pd.MultiIndex, pd.Timestamp]


def _plain(array: Any) -> Any:
    """The numpy array that a pandas array wraps, or the pandas array itself."""
    return array.to_numpy() if type(array).__name__ == "NumpyExtensionArray" else array


def _pandas_arrays(pd: Any) -> None:
    arrays = pd.arrays

    def times(value: Any) -> tuple[Any, ...]:
        zone = getattr(value.dtype, "tz", None)
        return value.asi8, f"{value.dtype.kind}8[{value.unit}]", str(zone) if zone else None

    def build_times(numbers: Any, dtype: str, zone: str | None) -> Any:
        made = pd.Series(numbers.view(dtype))
        return (made if zone is None else made.dt.tz_localize("UTC").dt.tz_convert(zone)).array

    for kind in (arrays.DatetimeArray, arrays.TimedeltaArray):
        _by_value(kind, "pd.times", times, build_times)
    _by_value(
        pd.Categorical,
        "pd.Categorical",
        lambda value: (value.codes, value.categories, value.ordered),
        lambda codes, categories, ordered: pd.Categorical.from_codes(codes, categories, ordered),
    )
    _by_value(
        arrays.PeriodArray,
        "pd.periods",
        lambda value: (value.asi8, value.freqstr),
        lambda ordinals, freq: pd.PeriodIndex.from_ordinals(ordinals, freq=freq).array,
    )
    _by_value(
        arrays.IntervalArray,
        "pd.intervals",
        lambda value: (value.left, value.right, value.closed),
        lambda left, right, closed: arrays.IntervalArray.from_arrays(left, right, closed),
    )
    _by_value(
        pd.api.extensions.ExtensionArray,
        "pd.array",
        lambda value: (str(value.dtype), value.astype(object).tolist()),
        lambda dtype, values: pd.array(values, dtype=dtype),
    )
    BASES.append(pd.api.extensions.ExtensionArray)


def _pandas_indexes(pd: Any) -> None:
    def index(value: Any) -> tuple[Any, ...]:
        return _plain(value.array), value.name, getattr(value, "freqstr", None)

    def build_index(array: Any, name: Any, freq: str | None) -> Any:
        made = pd.Index(array, dtype=array.dtype, name=name)
        if freq is not None and isinstance(made, (pd.DatetimeIndex, pd.TimedeltaIndex)):
            made.freq = freq
        return made

    def levels(value: Any) -> tuple[Any, ...]:
        codes = [pd.Series(part).to_numpy() for part in value.codes]
        return list(value.levels), codes, list(value.names)

    _by_value(
        pd.RangeIndex,
        "pd.RangeIndex",
        lambda value: (value.start, value.stop, value.step, value.name),
        lambda start, stop, step, name: pd.RangeIndex(start, stop, step, name=name),
    )
    _by_value(
        pd.MultiIndex,
        "pd.MultiIndex",
        levels,
        lambda parts, codes, names: pd.MultiIndex(levels=parts, codes=codes, names=names),
    )
    _by_value(pd.Index, "pd.Index", index, build_index)
    BASES.extend((pd.RangeIndex, pd.MultiIndex, pd.Index))
