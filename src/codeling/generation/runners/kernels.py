"""The arithmetic of a GPT-2 on a CPU, compiled by numba.

A token's result is bitwise equal however tokens are divided into batches and steps: no sum depends
on its neighbours. Weights are fp32, or int8 with one scale per output; for int8 weights, the
activations are quantized too, with one scale per token and 64 inputs. This module must not know
tokenizers, requests or files.

Shapes: N tokens, C width, H heads, D head width, S positions, V vocabulary. A tail of zeros makes
the widths of activations multiples of 64, and S and D of values multiples of 64.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import types
from numba.extending import overload

from codeling.arrays.jit import jitted
from codeling.generation.runners import tiles, vectors
from codeling.generation.runners.processor import (
    DOT,
    GROUP,
    LANES,
    OUTPUTS,
    TILE_BLOCKS,
    TILE_ROWS,
)

_TOKENS, _ACTIVATIONS = 64, 1 << 17
"""Minimum number of tokens that share a pass over the weights, and the number of their inputs up to
which more tokens share it: these stay in the CPU's second-level cache."""
_BLOCKS = OUTPUTS // LANES
_WIDE = TILE_BLOCKS * LANES
_DOT = tiles.Int8Dot(DOT)

_floats_of_many = tiles.float_tile(TILE_ROWS, TILE_BLOCKS)
_floats_of_one = tiles.float_tile(1, _BLOCKS)
_int8_of_many = tiles.int8_tile(TILE_ROWS, TILE_BLOCKS, _DOT)
_int8_of_one = tiles.int8_tile(1, _BLOCKS, _DOT)
_finish_many = tiles.finish(TILE_ROWS, TILE_BLOCKS)
_finish_one = tiles.finish(1, _BLOCKS)

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _reordering(function: _Function) -> _Function:
    """Compile ``function``. Sums over the width may be reordered for vector instructions."""
    return jitted(function, {"reassoc", "contract", "nsz", "arcp"})


def _implements(function: Callable[..., Any]) -> Callable[[_Function], _Function]:
    """The decorated function returns the implementation for types of arguments."""
    return overload(function, inline="always")  # type: ignore[no-any-return]


def _tile(x: Any, quantized: Any, token: Any, many: Any, weight: Any, block: Any, y: Any) -> None:
    """Products of the tile's tokens and a block of outputs, without scales and biases."""


@_implements(_tile)
def _overload_tile(
    x: Any, quantized: Any, token: Any, many: Any, weight: Any, block: Any, y: Any
) -> Any:
    if weight.dtype == types.float32:

        def of_floats(
            x: Any, quantized: Any, token: Any, many: Any, weight: Any, block: Any, y: Any
        ) -> None:
            width = x.shape[1]
            size = weight.shape[1]
            num_k = size // LANES
            if many:
                _floats_of_many(
                    x, token * width, width, weight, block * size, LANES, size, num_k, y, 0, _WIDE
                )
            else:
                _floats_of_one(
                    x, token * width, width, weight, block * size, LANES, size, num_k, y, 0, OUTPUTS
                )

        return of_floats

    def of_int8(
        x: Any, quantized: Any, token: Any, many: Any, weight: Any, block: Any, y: Any
    ) -> None:
        q, scales, offsets = quantized
        num_groups = weight.shape[1] // (LANES * GROUP)
        if many:
            _int8_of_many(q, scales, offsets, token, weight, block, num_groups, y)
        else:
            _int8_of_one(q, scales, offsets, token, weight, block, num_groups, y)

    return of_int8


def _prepare(x: Any, weight: Any, quantized: Any) -> None:
    """Quantize the activations if the weights are int8."""


@_implements(_prepare)
def _overload_prepare(x: Any, weight: Any, quantized: Any) -> Any:
    if weight.dtype == types.float32:

        def nothing(x: Any, weight: Any, quantized: Any) -> None:
            pass

        return nothing

    def quantize(x: Any, weight: Any, quantized: Any) -> None:
        q, scales, offsets = quantized
        num_groups = weight.shape[1] // (LANES * GROUP)
        for token in range(x.shape[0]):
            for group in range(num_groups):
                start = token * x.shape[1] + group * GROUP
                vectors.quantize(x, start, q, scales, offsets, token * num_groups + group)

    return quantize


@jitted
def linear(x: Any, layer: Any, scratch: Any, y: Any, adds: Any) -> None:
    """``y = x @ weight.T * scale + bias``, or added to y: x (N, K), y (N, outputs).

    ``scratch`` is quantized activations and a tile.
    """
    weight, scale, bias = layer
    quantized, tile = scratch
    _prepare(x, weight, quantized)
    num_together = max(_TOKENS, _ACTIVATIONS // x.shape[1] // TILE_ROWS * TILE_ROWS)
    for first in range(0, x.shape[0], num_together):
        last = min(first + num_together, x.shape[0])
        rest = last - (last - first) % TILE_ROWS
        for block in range(0, weight.shape[0], _BLOCKS):
            for part in range(block, block + _BLOCKS, TILE_BLOCKS):
                for token in range(first, rest, TILE_ROWS):
                    _tile(x, quantized, token, True, weight, part, tile)
                    _finish_many(tile, scale, bias, part * LANES, y, token, adds)
            for token in range(rest, last):
                _tile(x, quantized, token, False, weight, block, tile)
                _finish_one(tile, scale, bias, block * LANES, y, token, adds)


@_reordering
def layer_norm(x: Any, gain: Any, bias: Any, epsilon: Any, y: Any) -> None:
    """Normalise the first C numbers of each row of x into y; ``gain`` and ``bias`` are (C,)."""
    width = gain.shape[0]
    for token in range(x.shape[0]):
        mean = np.float32(0)
        for i in range(width):
            mean += x[token, i]
        mean /= np.float32(width)
        variance = np.float32(0)
        for i in range(width):
            variance += (x[token, i] - mean) * (x[token, i] - mean)
        factor = np.float32(1) / np.sqrt(variance / np.float32(width) + epsilon)
        for i in range(width):
            y[token, i] = (x[token, i] - mean) * factor * gain[i] + bias[i]


@jitted
def attend(
    fused: Any, keys: Any, values: Any, slots: Any, positions: Any, scratch: Any, y: Any, width: Any
) -> None:
    """Store keys and values of N tokens, then attend.

    ``fused`` (N, 3 C) holds queries, keys, values; ``keys`` (slots, H, S / 64, D, 64) and
    ``values`` (slots, H, S, D) are one layer's, in the order in which they are read; ``scratch`` is
    scores (tokens of a tile, S), results (tokens of a tile * D,) and totals (tokens of a tile,);
    the result is ``y`` (N, C). ``width`` is C.
    """
    scores, result, totals = scratch
    num_heads, head_width = keys.shape[1], keys.shape[3]
    num_entries, padded_width = values.shape[2], values.shape[3]
    page = head_width * OUTPUTS
    scores_width = scores.shape[1]
    num_tokens, stride = fused.shape
    for token in range(num_tokens):
        slot, position = slots[token], positions[token]
        for head in range(num_heads):
            for i in range(head_width):
                keys[slot, head, position // OUTPUTS, i, position % OUTPUTS] = fused[
                    token, width + head * head_width + i
                ]
                values[slot, head, position, i] = fused[token, 2 * width + head * head_width + i]
    factor = np.float32(1 / math.sqrt(head_width))
    token = 0
    while token < num_tokens:
        last = token + TILE_ROWS - 1
        many = (
            last < num_tokens
            and slots[last] == slots[token]
            and positions[last] == positions[token] + TILE_ROWS - 1
        )
        num_rows = TILE_ROWS if many else 1
        num_seen = positions[token + num_rows - 1] + 1
        for head in range(num_heads):
            query = token * stride + head * head_width
            start = (slots[token] * num_heads + head) * head_width * num_entries
            if many:
                for first in range(0, num_seen, _WIDE):
                    place = start + first // OUTPUTS * page + first % OUTPUTS
                    _floats_of_many(
                        fused, query, stride, keys, place, OUTPUTS, LANES, head_width,
                        scores, first, scores_width,
                    )  # fmt: skip
            else:
                for first in range(0, num_seen, OUTPUTS):
                    place = start + first // OUTPUTS * page
                    _floats_of_one(
                        fused, query, stride, keys, place, OUTPUTS, LANES, head_width,
                        scores, first, scores_width,
                    )  # fmt: skip
            start = (slots[token] * num_heads + head) * num_entries * padded_width
            for row in range(num_rows):
                end = positions[token + row] + 1
                padded = (end + LANES - 1) // LANES * LANES
                scores[row, end:padded] = -np.inf
                totals[row] = vectors.softmax(scores, row * scores_width, padded, factor)
                scores[row, padded:num_seen] = 0
            if many:
                for first in range(0, head_width, _WIDE):
                    _floats_of_many(
                        scores, 0, scores_width, values, start + first, padded_width, LANES,
                        num_seen, result, first, padded_width,
                    )  # fmt: skip
            else:
                for first in range(0, head_width, OUTPUTS):
                    _floats_of_one(
                        scores, 0, scores_width, values, start + first, padded_width, LANES,
                        num_seen, result, first, padded_width,
                    )  # fmt: skip
            for row in range(num_rows):
                for i in range(head_width):
                    y[token + row, head * head_width + i] = (
                        result[row * padded_width + i] / totals[row]
                    )
        token += num_rows


@jitted
def embed(
    ids: Any, positions: Any, table: Any, position_table: Any, inner: Any, zero: Any, x: Any
) -> None:
    """``x`` (N, C): the sum of the embeddings of ids and positions."""
    weight, scale = table[0], table[1]
    for token in range(ids.shape[0]):
        block, lane = ids[token] // LANES, ids[token] % LANES
        for i in range(position_table.shape[1]):
            place = (i // inner * LANES + lane) * inner + i % inner
            entry = (np.float32(weight[block, place]) - zero) * scale[ids[token]]
            x[token, i] = entry + position_table[positions[token], i]


@jitted
def forward(
    ids: Any,
    slots: Any,
    positions: Any,
    ends: Any,
    weights: Any,
    packing: Any,
    keys: Any,
    values: Any,
    scratch: Any,
    logits: Any,
) -> None:
    """Read N tokens, each into its slot at its position; ``logits`` (R, V) of the tokens ``ends``.

    ``weights`` is the embedding, positions (S, C), norms (L + 1, 4, C), epsilon and four matrices
    of each layer, stacked; ``packing`` how many inputs of a weight are neighbours, and what is
    stored for 0; ``keys`` and ``values`` (L, ...) as in :func:`attend`. ``scratch`` is x and y
    (N, C), (N, 3 C), (N, 4 C), and the scratch of :func:`attend` and :func:`linear`; x and y are 0.

    After the attention of the last layer, only the tokens ``ends`` are computed.
    """
    table, position_table, norms, epsilon, matrices = weights
    x, y, fused, wide, attending, multiplying = scratch
    width = norms.shape[2]
    num_layers = norms.shape[0] - 1
    embed(ids, positions, table, position_table, packing[0], packing[1], x)
    for number in range(num_layers):
        norm = norms[number]
        layer_norm(x, norm[0], norm[1], epsilon, y)
        linear(y, _layer(matrices[0], number), multiplying, fused, False)
        attend(fused, keys[number], values[number], slots, positions, attending, y, width)
        if number == num_layers - 1:
            for row in range(ends.shape[0]):  # in ascending order, so none is overwritten
                for i in range(width):
                    x[row, i], y[row, i] = x[ends[row], i], y[ends[row], i]
            num_ends = ends.shape[0]
            x, y, wide = x[:num_ends], y[:num_ends], wide[:num_ends]
        linear(y, _layer(matrices[1], number), multiplying, x, True)
        layer_norm(x, norm[2], norm[3], epsilon, y)
        linear(y, _layer(matrices[2], number), multiplying, wide, False)
        vectors.gelu(wide, 0, wide.size)
        linear(wide, _layer(matrices[3], number), multiplying, x, True)
    norm = norms[num_layers]
    layer_norm(x, norm[0], norm[1], epsilon, y)
    linear(y, table, multiplying, logits, False)


@jitted
def softmax_denominators(logits: Any, peaks: Any, totals: Any) -> None:
    """``peaks`` (R,) = the maximum of each row of ``logits`` (R, V), ``totals`` (R,) = the sum of
    ``exp(logits - peak)``. V is a multiple of 16. Changes ``logits``."""
    size = logits.shape[1]
    for row in range(logits.shape[0]):
        peaks[row] = vectors.largest(logits, row * size, size)
        totals[row] = vectors.softmax(logits, row * size, size, np.float32(1))


@jitted
def _layer(matrix: Any, number: Any) -> Any:
    """One of stacked matrices."""
    weight, scale, bias = matrix
    return weight[number], scale[number], bias[number]
