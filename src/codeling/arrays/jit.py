"""Compiles kernels with numba, to machine code that runs without numba.

Compiled functions allocate nothing, so their code needs no runtime of numba's. This module is
imported only to compile; :mod:`codeling.arrays.native` keeps and calls the code. It must not know
what is computed.

The entry of a kernel has one argument, an array of 64-bit slots with the kernel's arguments, tuples
flattened: an integer, a float, or the address of a numpy array. The fields of an array are at fixed
places (PyArrayObject_fields in ``numpy/ndarraytypes.h``, the same in numpy 1 and 2).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from llvmlite import ir
from numba import from_dtype, njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

_Function = TypeVar("_Function", bound=Callable[..., Any])

_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_HEAD = object.__basicsize__
_DATA, _NDIM, _SHAPE, _DESCR, _FLAGS = (_HEAD + offset for offset in (0, 8, 16, 40, 48))
_TYPE_NUMBER = _HEAD + 12
"""Places of fields in an array, and in its dtype, in bytes."""
_USABLE = 0x101
"""The array is C-contiguous and aligned."""

CALLED = "exp", "log", "memcpy", "memmove", "memset"
"""Functions of the C library that LLVM calls for its intrinsics."""


class Compiled(NamedTuple):
    """Machine code for one combination of types."""

    entry: str
    """Name of the function: ``int entry(int64 *outcome, void **, int64 *slots)``."""
    results: str
    """A character per result, which the code writes to the slots: q or d, as in :mod:`struct`."""
    symbols: list[str]
    """Names of other functions that the code needs."""
    code: bytes
    """An object file."""


def jitted(function: _Function, fastmath: Any = False) -> _Function:
    """``function`` as numba compiles it at its first call. ``fastmath`` is numba's."""
    decorate = njit(
        nogil=True,
        error_model="numpy",
        fastmath=fastmath,
        no_cpython_wrapper=True,
        no_cfunc_wrapper=True,
        _nrt=False,
    )
    return decorate(function)  # type: ignore[no-any-return]


def compile_kernel(function: Callable[..., Any], arguments: Sequence[Any]) -> Compiled:
    """Compile ``function``, from :func:`jitted`, for the types of ``arguments``.

    The entry's outcome is 0, or 1 if an array does not have the type of its argument.
    """
    kinds = [_type_of(each) for each in arguments]
    fits, load, store, leaves = _fits(kinds), _load(kinds), _store, types.CPointer(types.int64)
    results: list[str] = []

    @intrinsic  # type: ignore[untyped-decorator]
    def note(_: Any, result: Any) -> Any:
        """Keep the types of the results."""
        parts = result if isinstance(result, types.BaseTuple) else [result]
        results[:] = ["d" if isinstance(each, types.Float) else "q" for each in parts]
        if result == types.none:
            results.clear()
        return types.void(result), lambda context, *_: context.get_dummy_value()

    def entry(slots: Any) -> int:
        if not fits(slots):
            return 1
        result = function(*load(slots))
        note(result)
        store(slots, result)
        return 0

    compiled: Any = jitted(entry)
    compiled.compile((leaves,))
    result = compiled.overloads[(leaves,)]
    module = result.library._final_module
    declared = [each.name for each in module.functions if each.is_declaration]
    symbols = [each for each in declared if not each.startswith("llvm.")]
    symbols += [each for each in CALLED if any(f"llvm.{each}." in name for name in declared)]
    code = result.library.codegen._tm.emit_object(module)
    return Compiled(result.fndesc.llvm_func_name, "".join(results), symbols, code)


def _type_of(argument: Any) -> Any:
    """numba's type; arrays are taken as writable and C-contiguous."""
    if isinstance(argument, np.ndarray):
        return types.Array(from_dtype(argument.dtype), argument.ndim, "C")
    if isinstance(argument, tuple):
        return types.BaseTuple.from_types([_type_of(each) for each in argument])
    if isinstance(argument, np.float32):
        return types.float32
    return types.float64 if isinstance(argument, float) else types.int64


def _index(number: int) -> ir.Constant:
    return ir.Constant(_I32, number)


def _field(builder: ir.IRBuilder, address: ir.Value, offset: int, kind: ir.Type) -> ir.Value:
    """The field of a C struct at ``address``."""
    place = builder.add(address, ir.Constant(_I64, offset))
    return builder.load(builder.inttoptr(place, kind.as_pointer()))


def _leaves(kinds: Sequence[Any]) -> list[Any]:
    """The types without tuples around them."""
    found = []
    for kind in kinds:
        found += _leaves(list(kind)) if isinstance(kind, types.BaseTuple) else [kind]
    return found


def _fits(kinds: Sequence[Any]) -> Any:
    """A function of the slots: whether each array has the type of its argument."""

    @intrinsic  # type: ignore[untyped-decorator]
    def fits(_: Any, slots: Any) -> Any:
        def generate(_: Any, builder: ir.IRBuilder, __: Any, arguments: Any) -> ir.Value:
            result = ir.Constant(ir.IntType(1), 1)
            for number, kind in enumerate(_leaves(kinds)):
                if not isinstance(kind, types.Array):
                    continue
                address = builder.load(builder.gep(arguments[0], [_index(number)]))
                dtype = _field(builder, address, _DESCR, _I64)
                wanted = np.dtype(str(kind.dtype)).num
                flags = builder.and_(_field(builder, address, _FLAGS, _I32), _index(_USABLE))
                for found, expected in (
                    (_field(builder, address, _NDIM, _I32), kind.ndim),
                    (_field(builder, dtype, _TYPE_NUMBER, _I32), wanted),
                    (flags, _USABLE),
                ):
                    equal = builder.icmp_signed("==", found, _index(expected))
                    result = builder.and_(result, equal)
            return result

        return types.boolean(slots), generate

    return fits


def _load(kinds: Sequence[Any]) -> Any:
    """A function of the slots: the arguments."""
    all_kinds = types.BaseTuple.from_types(kinds)

    @intrinsic  # type: ignore[untyped-decorator]
    def load(_: Any, slots: Any) -> Any:
        def generate(context: Any, builder: ir.IRBuilder, __: Any, arguments: Any) -> ir.Value:
            places = (builder.gep(arguments[0], [_index(n)]) for n in range(len(_leaves(kinds))))

            def value(kind: Any) -> ir.Value:
                if isinstance(kind, types.BaseTuple):
                    return context.make_tuple(builder, kind, [value(each) for each in kind])
                place = next(places)
                if isinstance(kind, types.Array):
                    return _array(context, builder, kind, builder.load(place))
                return builder.load(
                    builder.bitcast(place, context.get_value_type(kind).as_pointer())
                )

            return value(all_kinds)

        return all_kinds(slots), generate

    return load


def _array(context: Any, builder: ir.IRBuilder, kind: Any, address: ir.Value) -> ir.Value:
    """numba's view of the numpy array at ``address``."""
    element = context.get_data_type(kind.dtype)
    dimensions = _field(builder, address, _SHAPE, _I64.as_pointer())
    shape = [builder.load(builder.gep(dimensions, [_index(n)])) for n in range(kind.ndim)]
    item_size = ir.Constant(_I64, context.get_abi_sizeof(element))
    strides = [item_size]
    for size in reversed(shape[1:]):
        strides.insert(0, builder.mul(strides[0], size))
    array = context.make_array(kind)(context, builder)
    populate_array(
        array,
        data=_field(builder, address, _DATA, element.as_pointer()),
        shape=cgutils.pack_array(builder, shape, _I64),
        strides=cgutils.pack_array(builder, strides[: kind.ndim], _I64),
        itemsize=item_size,
        meminfo=None,
    )
    return array._getvalue()


@intrinsic  # type: ignore[untyped-decorator]
def _store(_: Any, slots: Any, result: Any) -> Any:
    """Write the result, or each of a tuple, to the slots."""

    def generate(context: Any, builder: ir.IRBuilder, __: Any, arguments: Any) -> ir.Value:
        place, value = arguments
        if isinstance(result, types.BaseTuple):
            values = list(zip(result, cgutils.unpack_tuple(builder, value), strict=True))
        else:
            values = [(result, value)] if result != types.none else []
        for number, (kind, each) in enumerate(values):
            to = types.float64 if isinstance(kind, types.Float) else types.int64
            wide = context.cast(builder, each, kind, to)
            target = builder.gep(place, [_index(number)])
            builder.store(wide, builder.bitcast(target, wide.type.as_pointer()))
        return context.get_dummy_value()

    return types.void(slots, result), generate
