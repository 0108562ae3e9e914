"""Products of tiles of matrices in fp32 and int8, as LLVM instructions.

A tile is some tokens by some blocks of 16 outputs. LLVM does not find the int8 dot products of
processors in a loop, so they are chosen here: VNNI, the multiply-add of AVX2, or multiplications. A
token's products do not depend on the tile: sums of floats are in the order of the inputs, sums of
integers are exact. This module must not know what the numbers mean.
"""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from codeling.generation.runners.processor import GROUP, LANES, DotInstruction
from codeling.generation.runners.vectors import (
    F32,
    I8,
    I16,
    I32,
    Array,
    call,
    constant,
    emit,
    fused,
    index,
    loop,
    splat,
    vector,
    vectorized,
)


def _variables(builder: ir.IRBuilder, rows: int, blocks: int, kind: Any) -> list[list[ir.Value]]:
    """Zeroed vectors, which LLVM keeps in registers."""
    zero = ir.Constant(kind, None)
    return [[cgutils.alloca_once_value(builder, zero) for _ in range(blocks)] for _ in range(rows)]


def _store_tile(
    builder: ir.IRBuilder, sums: Sequence[Sequence[ir.Value]], y: Array, start: Any, stride: Any
) -> None:
    for row, vectors in enumerate(sums):
        for block, each in enumerate(vectors):
            place = builder.add(builder.mul(stride, index(row)), index(block * LANES))
            y.store(builder.load(each), builder.add(start, place))


def float_tile(rows: int, blocks: int) -> Any:
    """A product of fp32 matrices: (rows, K) by (K, 16 blocks).

    Called as ``(x, start, stride, w, start, stride, block_stride, num_k, y, start, stride)``. Each
    sum is in the order of k.
    """

    @vectorized
    def tile(_: Any, x: Any, xi: Any, xs: Any, w: Any, wi: Any, ws: Any, wb: Any, k: Any, y: Any,
             yi: Any, ys: Any) -> Any:  # fmt: skip
        def body(builder: ir.IRBuilder, arguments: list[Any]) -> None:
            x, x_start, x_stride, w, w_start, w_stride, block_stride, num_k, y, *place = arguments
            sums = _variables(builder, rows, blocks, vector(F32))
            xs = [builder.add(x_start, builder.mul(x_stride, index(r))) for r in range(rows)]
            ws = [builder.add(w_start, builder.mul(block_stride, index(b))) for b in range(blocks)]
            with loop(builder, num_k) as (k, _):
                offset = builder.mul(k, w_stride)
                weights = [w.load(builder.add(each, offset), vector(F32)) for each in ws]
                for row in range(rows):
                    value = splat(builder, x.load(builder.add(xs[row], k)))
                    for total, weight in zip(sums[row], weights, strict=True):
                        new = fused(builder, value, weight, builder.load(total))
                        builder.store(new, total)
            _store_tile(builder, sums, y, *place)

        return emit(types.void(x, xi, xs, w, wi, ws, wb, k, y, yi, ys), body)

    return tile


class Int8Dot:
    """Dot products with a :class:`DotInstruction`."""

    def __init__(self, dot: DotInstruction) -> None:
        self._name, self.size, self._width = dot.name, dot.size, dot.width

    def weights(self, builder: ir.IRBuilder, loaded: ir.Value) -> list[ir.Value]:
        """Weights (16 * size unsigned bytes) in the form that :meth:`add` wants."""
        if self.size == 4:
            return _parts(builder, loaded, self._width // 8)
        wide = builder.zext(loaded, vector(I16, 2 * LANES))
        return _parts(builder, wide, LANES) if self._name != "multiply" else [wide]

    def add(self, builder: ir.IRBuilder, x: ir.Value, w: list[ir.Value], total: Any) -> ir.Value:
        """``total + dot(x, w)``: x is 32 bits that all lanes share."""
        if self.size == 4:
            lanes = self._width // 32
            shared = builder.bitcast(splat(builder, x, lanes), w[0].type)
            sums = [
                call(builder, self._name, part, each, shared)
                for part, each in zip(_parts(builder, total, lanes), w, strict=True)
            ]
            return _join(builder, sums)
        pair = builder.bitcast(x, vector(I16, 2))
        if self._name != "multiply":
            shared = builder.bitcast(splat(builder, x, LANES // 2), vector(I16))
            kind = vector(I32, LANES // 2)
            sums = [call(builder, self._name, shared, each, returns=kind) for each in w]
            return builder.add(total, _join(builder, sums))
        for position in range(2):
            lanes = ir.Constant(vector(I32), list(range(position, 2 * LANES, 2)))
            weight = builder.sext(builder.shuffle_vector(w[0], w[0], lanes), vector(I32))
            value = builder.extract_element(pair, ir.Constant(I32, position))
            shared = splat(builder, builder.sext(value, I32))
            total = builder.add(total, builder.mul(shared, weight))
        return total


def _parts(builder: ir.IRBuilder, value: ir.Value, size: int) -> list[ir.Value]:
    """``value`` cut into vectors of ``size`` elements."""
    if value.type.count == size:
        return [value]
    kind = vector(I32, size)
    starts = range(0, value.type.count, size)
    masks = [ir.Constant(kind, list(range(start, start + size))) for start in starts]
    return [builder.shuffle_vector(value, value, mask) for mask in masks]


def _join(builder: ir.IRBuilder, parts: list[ir.Value]) -> ir.Value:
    """One vector of one or two parts."""
    if len(parts) == 1:
        return parts[0]
    order = ir.Constant(vector(I32, LANES), list(range(LANES)))
    return builder.shuffle_vector(*parts, order)


def int8_tile(rows: int, blocks: int, dot: Int8Dot) -> Any:
    """A product of quantized matrices: (rows, K) by (K, 16 blocks), in units of a weight's scale.

    Called as ``(x, scales, offsets, token, w, block, y)``: x (N, K) from :func:`quantizer`, w
    (blocks, 16 K) unsigned bytes, y (rows * blocks * 16,) fp32.
    """

    @vectorized
    def tile(_: Any, x: Any, scales: Any, offsets: Any, token: Any, w: Any, block: Any,
             num_groups: Any, y: Any) -> Any:  # fmt: skip
        def body(builder: ir.IRBuilder, arguments: list[Any]) -> None:
            x, scales, offsets, token, w, block, num_groups, y = arguments
            floats = _variables(builder, rows, blocks, vector(F32))
            tokens = [builder.add(token, index(row)) for row in range(rows)]
            groups = [builder.mul(each, num_groups) for each in tokens]
            length = builder.mul(num_groups, index(GROUP))
            ws = [
                builder.mul(builder.mul(builder.add(block, index(b)), length), index(LANES))
                for b in range(blocks)
            ]
            bytes_kind = vector(I8, LANES * dot.size)
            with loop(builder, num_groups) as (group, _):
                scale_index = [builder.add(each, group) for each in groups]
                sums = _variables(builder, rows, blocks, vector(I32))
                for row in range(rows):
                    first = splat(builder, offsets.load(scale_index[row]))
                    for each in sums[row]:
                        builder.store(first, each)
                starts = [builder.mul(each, index(GROUP)) for each in scale_index]
                done = builder.mul(group, index(GROUP))
                with loop(builder, index(GROUP), dot.size) as (k, _):
                    offset = builder.mul(builder.add(done, k), index(LANES))
                    weights = [
                        dot.weights(builder, w.load(builder.add(each, offset), bytes_kind))
                        for each in ws
                    ]
                    for row in range(rows):
                        value = x.load(builder.add(starts[row], k), I32)
                        for total, weight in zip(sums[row], weights, strict=True):
                            new = dot.add(builder, value, weight, builder.load(total))
                            builder.store(new, total)
                for row in range(rows):
                    scale = splat(builder, scales.load(scale_index[row]))
                    for total, whole in zip(floats[row], sums[row], strict=True):
                        product = builder.sitofp(builder.load(whole), vector(F32))
                        builder.store(fused(builder, product, scale, builder.load(total)), total)
            _store_tile(builder, floats, y, index(0), index(blocks * LANES))

        return emit(types.void(x, scales, offsets, token, w, block, num_groups, y), body)

    return tile


def finish(rows: int, blocks: int) -> Any:
    """Scale a tile, add the bias, and write or add it to y.

    Called as ``(tile, scale, bias, first output, y (N, outputs), token, adds)``.
    """

    @vectorized
    def finish_tile(_: Any, tile: Any, scale: Any, bias: Any, first: Any, y: Any, token: Any,
                    adds: Any) -> Any:  # fmt: skip
        def body(builder: ir.IRBuilder, arguments: list[Any]) -> None:
            tile, scale, bias, first, y, token, adds = arguments
            adds = builder.trunc(adds, ir.IntType(1)) if adds.type.width > 1 else adds
            for block in range(blocks):
                output = builder.add(first, index(block * LANES))
                factor, addend = (each.load(output, vector(F32)) for each in (scale, bias))
                for row in range(rows):
                    value = tile.load(index((row * blocks + block) * LANES), vector(F32))
                    value = fused(builder, value, factor, addend)
                    start = builder.mul(builder.add(token, index(row)), y.width)
                    place = builder.add(start, output)
                    before = builder.select(adds, y.load(place, vector(F32)), constant(0.0))
                    y.store(builder.fadd(value, before), place)

        return emit(types.void(tile, scale, bias, first, y, token, adds), body)

    return finish_tile
