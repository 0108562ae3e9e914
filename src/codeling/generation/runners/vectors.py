"""Vector code of the kernels, as LLVM instructions on 16 numbers at a time.

numba compiles loops, but it has no vector types, and LLVM does not find the int8 dot products of
processors in a loop. Each function below with ``@vectorized`` can be called in a compiled function.
Arrays must be C-contiguous; ``start`` and ``stride`` count elements of the flat array.

A result never depends on how tokens are grouped: sums of floats have a fixed order, and sums of
integers are exact. This module must not know what the numbers mean.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from codeling.generation.runners.processor import GROUP, LANES

I8, I16, I32, I64, F32 = *(ir.IntType(bits) for bits in (8, 16, 32, 64)), ir.FloatType()


def vectorized(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make what :func:`emit` returned a function that compiled code can call."""
    return intrinsic(function)  # type: ignore[no-any-return]


def vector(element: ir.Type, count: int = LANES) -> ir.VectorType:
    """The type of a vector."""
    return ir.VectorType(element, count)


def splat(builder: ir.IRBuilder, value: ir.Value, count: int = LANES) -> ir.Value:
    """A vector of ``count`` copies."""
    kind = vector(value.type, count)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(I32, 0))
    zeros = ir.Constant(vector(I32, count), [0] * count)
    return builder.shuffle_vector(first, first, zeros)


def constant(number: float) -> ir.Constant:
    """A vector of copies of ``number``, in fp32."""
    return ir.Constant(vector(F32), [number] * LANES)


def call(builder: ir.IRBuilder, name: str, *arguments: ir.Value, returns: Any = None) -> ir.Value:
    """Call an LLVM intrinsic. The result has the type of the first argument, or ``returns``."""
    kind = ir.FunctionType(returns or arguments[0].type, [each.type for each in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def fused(builder: ir.IRBuilder, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
    """``x * y + z``, with one rounding where the processor can."""
    return call(builder, "llvm.fmuladd.v16f32", x, y, z)


class Array:
    """Pointer to the elements of an array argument."""

    def __init__(self, context: Any, builder: ir.IRBuilder, kind: Any, value: ir.Value) -> None:
        self._builder = builder
        self._element = context.get_data_type(kind.dtype)
        array = context.make_array(kind)(context, builder, value)
        self.data = array.data
        self.width = builder.extract_value(array.shape, kind.ndim - 1)

    def pointer(self, index: ir.Value, kind: ir.Type | None = None) -> ir.Value:
        """Pointer to element ``index``, as a pointer to ``kind``."""
        target = self._builder.gep(self.data, [index])
        return self._builder.bitcast(target, (kind or self._element).as_pointer())

    def load(self, index: ir.Value, kind: ir.Type | None = None) -> ir.Value:
        """The element at ``index``, or a vector that starts there."""
        found = self._builder.load(self.pointer(index, kind))
        found.align = 1 if kind else None
        return found

    def store(self, value: ir.Value, index: ir.Value) -> None:
        """Store a number or a vector at ``index``."""
        self._builder.store(value, self.pointer(index, value.type)).align = 1


def emit(
    signature: Any, body: Callable[[ir.IRBuilder, list[Any]], ir.Value | None]
) -> tuple[Any, Any]:
    """The form that ``@intrinsic`` expects: ``body`` gets arrays as :class:`Array`, numbers as
    values."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        values = [
            Array(context, builder, kind, value) if isinstance(kind, types.Array) else value
            for kind, value in zip(signature.args, arguments, strict=True)
        ]
        result = body(builder, values)
        return context.get_dummy_value() if result is None else result

    return signature, generate


def index(number: int) -> ir.Constant:
    """A constant index."""
    return ir.Constant(I64, number)


def loop(builder: ir.IRBuilder, count: ir.Value, step: int = 1) -> Any:
    """``for index in range(0, count, step)``."""
    return cgutils.for_range_slice(builder, index(0), count, index(step), I64)


@vectorized
def quantize(_: Any, x: Any, start: Any, q: Any, scales: Any, offsets: Any, group: Any) -> Any:
    """Round 64 numbers of x to integers of at most 127 times a scale.

    ``q[64 * group:]`` are the integers, ``scales[group]`` is the scale, and ``offsets[group]``
    -128 times the sum of the integers: it corrects for weights stored with 128 added.
    """

    def body(builder: ir.IRBuilder, arguments: list[Any]) -> None:
        x, start, q, scales, offsets, group = arguments
        parts = range(0, GROUP, LANES)
        values = [x.load(builder.add(start, index(part)), vector(F32)) for part in parts]
        largest = call(builder, "llvm.fabs.v16f32", values[0])
        for each in values[1:]:
            other = call(builder, "llvm.fabs.v16f32", each)
            largest = call(builder, "llvm.maxnum.v16f32", largest, other)
        peak = call(builder, "llvm.vector.reduce.fmax.v16f32", largest, returns=F32)
        one = ir.Constant(F32, 1.0)
        peak = builder.select(builder.fcmp_ordered(">", peak, ir.Constant(F32, 1e-30)), peak, one)
        factor = splat(builder, builder.fdiv(ir.Constant(F32, 127.0), peak))
        bits = ir.IntType(q.data.type.pointee.width)
        total = ir.Constant(vector(I32), None)
        for part, value in zip(parts, values, strict=True):
            rounded = call(builder, "llvm.rint.v16f32", builder.fmul(value, factor))
            whole = builder.fptosi(rounded, vector(I32))
            total = builder.add(total, whole)
            place = builder.add(builder.mul(group, index(GROUP)), index(part))
            q.store(builder.trunc(whole, vector(bits)), place)
        summed = call(builder, "llvm.vector.reduce.add.v16i32", total, returns=I32)
        scales.store(builder.fdiv(peak, ir.Constant(F32, 127.0)), group)
        offsets.store(builder.mul(summed, ir.Constant(I32, -128)), group)

    return emit(types.void(x, start, q, scales, offsets, group), body)


def _exp(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """The exponential of a vector, with a relative error below 2e-7; 0 below -87, at most e^88.

    2^n times a polynomial on [-ln 2 / 2, ln 2 / 2], the expf of Cephes (Moshier 1992).
    """
    tiny = builder.fcmp_ordered("<", x, constant(-87.0))
    x = call(builder, "llvm.maxnum.v16f32", x, constant(-87.0))
    x = call(builder, "llvm.minnum.v16f32", x, constant(88.0))
    power = call(builder, "llvm.rint.v16f32", builder.fmul(x, constant(1.44269504088896341)))
    x = fused(builder, power, constant(-0.693359375), x)
    x = fused(builder, power, constant(2.12194440e-4), x)
    result = constant(1.9875691500e-4)
    for factor in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5, 1, 1):
        result = fused(builder, result, x, constant(factor))
    exponent = builder.add(
        builder.fptosi(power, vector(I32)), ir.Constant(vector(I32), [127] * LANES)
    )
    exponent = builder.shl(exponent, ir.Constant(vector(I32), [23] * LANES))
    result = builder.fmul(result, builder.bitcast(exponent, vector(F32)))
    return builder.select(tiny, constant(0.0), result)


def _largest(builder: ir.IRBuilder, x: Array, start: ir.Value, count: ir.Value) -> ir.Value:
    """The maximum of ``count`` numbers of x, a multiple of 16."""
    largest = cgutils.alloca_once_value(builder, constant(float("-inf")))
    with loop(builder, count, LANES) as (i, _):
        value = x.load(builder.add(start, i), vector(F32))
        new = call(builder, "llvm.maxnum.v16f32", value, builder.load(largest))
        builder.store(new, largest)
    return call(builder, "llvm.vector.reduce.fmax.v16f32", builder.load(largest), returns=F32)


@vectorized
def largest(_: Any, x: Any, start: Any, count: Any) -> Any:
    """The maximum of ``count`` numbers of x, a multiple of 16."""

    def body(builder: ir.IRBuilder, arguments: list[Any]) -> ir.Value:
        return _largest(builder, *arguments)

    return emit(types.float32(x, start, count), body)


@vectorized
def softmax(_: Any, x: Any, start: Any, count: Any, factor: Any) -> Any:
    """Replace ``count`` numbers of x, a multiple of 16, by ``exp(factor * (x - max(x)))``.

    Return their sum.
    """

    def body(builder: ir.IRBuilder, arguments: list[Any]) -> ir.Value:
        x, start, count, factor = arguments
        total = cgutils.alloca_once_value(builder, constant(0.0))
        peak = splat(builder, _largest(builder, x, start, count))
        factor = splat(builder, factor)
        with loop(builder, count, LANES) as (i, _):
            place = builder.add(start, i)
            difference = builder.fsub(x.load(place, vector(F32)), peak)
            value = _exp(builder, builder.fmul(difference, factor))
            x.store(value, place)
            builder.store(builder.fadd(builder.load(total), value), total)
        zero = ir.Constant(F32, 0.0)
        # without `reassoc`, the lanes are added in order
        return call(
            builder, "llvm.vector.reduce.fadd.v16f32", zero, builder.load(total), returns=F32
        )

    return emit(types.float32(x, start, count, factor), body)


@vectorized
def gelu(_: Any, x: Any, start: Any, count: Any) -> Any:
    """GPT-2's tanh GELU of ``count`` numbers of x, a multiple of 16, in place."""

    def body(builder: ir.IRBuilder, arguments: list[Any]) -> None:
        x, start, count = arguments
        with loop(builder, count, LANES) as (i, _):
            place = builder.add(start, i)
            value = x.load(place, vector(F32))
            square = builder.fmul(value, value)
            inner = fused(builder, builder.fmul(square, constant(0.044715)), value, value)
            # x (1 + tanh z) / 2 = x / (1 + exp(-2 z)), z = sqrt(2 / pi) * inner
            power = _exp(builder, builder.fmul(inner, constant(-2 * 0.7978845608028654)))
            x.store(builder.fdiv(value, builder.fadd(power, constant(1.0))), place)

    return emit(types.void(x, start, count), body)
