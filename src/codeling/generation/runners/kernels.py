"""The arithmetic of a GPT-2 for a few tokens at a time, compiled by numba.

A matrix is stored as (out, in), in fp32 or in int8 with one scale per row; activations are fp32.
Tokens are computed independently of each other, so a token's result is bitwise equal in any batch.
This module must not know tokenizers, requests or files.

Shapes: N tokens, C width, H heads, D head width, S positions, L layers, V vocabulary.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _compiled(function: _Function) -> _Function:
    """Compile ``function``. Sums may be reordered for vector instructions.

    It runs without Python's lock, so that several threads can.
    """
    flags = {"reassoc", "contract", "nsz", "arcp"}
    return njit(  # type: ignore[no-any-return]
        cache=True, nogil=True, error_model="numpy", fastmath=flags
    )(function)


@_compiled
def _product(x: Any, token: int, weight: Any, row: int) -> Any:
    """``x[token] @ weight[row]``, in fp32."""
    total = np.float32(0)
    for i in range(weight.shape[1]):
        total += x[token, i] * np.float32(weight[row, i])
    return total


@_compiled
def linear(x: Any, weight: Any, scale: Any, bias: Any, y: Any) -> None:
    """``y = (x @ weight.T) * scale + bias``: x (N, in), weight (out, in), y (N, out)."""
    for row in range(weight.shape[0]):
        for token in range(x.shape[0]):
            y[token, row] = _product(x, token, weight, row) * scale[row] + bias[row]


@_compiled
def add_linear(x: Any, weight: Any, scale: Any, bias: Any, y: Any) -> None:
    """``y += (x @ weight.T) * scale + bias``; see :func:`linear`."""
    for row in range(weight.shape[0]):
        for token in range(x.shape[0]):
            y[token, row] += _product(x, token, weight, row) * scale[row] + bias[row]


@_compiled
def layer_norm(x: Any, gain: Any, bias: Any, epsilon: Any, y: Any) -> None:
    """Normalise each row of x (N, C) into y."""
    width = x.shape[1]
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


@_compiled
def gelu(x: Any) -> None:
    """GPT-2's tanh GELU, in place."""
    for token in range(x.shape[0]):
        for i in range(x.shape[1]):
            v = x[token, i]
            inner = np.float32(0.7978845608028654) * (v + np.float32(0.044715) * v * v * v)
            x[token, i] = v / (np.float32(1) + np.exp(np.float32(-2) * inner))


@_compiled
def attend(
    fused: Any, keys: Any, values: Any, slots: Any, positions: Any, scores: Any, y: Any
) -> None:
    """Store keys and values of N tokens, then attend.

    ``fused`` (N, 3 C) holds queries, keys, values; ``keys`` and ``values`` (slots, H, S, D) are one
    layer's; ``scores`` (S,) is scratch; the result is ``y`` (N, C).
    """
    num_heads, head_dim = keys.shape[1], keys.shape[3]
    width = num_heads * head_dim
    factor = np.float32(1 / math.sqrt(head_dim))
    for token in range(fused.shape[0]):
        slot, position = slots[token], positions[token]
        for head in range(num_heads):
            for i in range(head_dim):
                keys[slot, head, position, i] = fused[token, width + head * head_dim + i]
                values[slot, head, position, i] = fused[token, 2 * width + head * head_dim + i]
    for token in range(fused.shape[0]):
        slot, num_seen = slots[token], positions[token] + 1
        for head in range(num_heads):
            first = head * head_dim
            largest = np.float32(-np.inf)
            for seen in range(num_seen):
                product = np.float32(0)
                for i in range(head_dim):
                    product += fused[token, first + i] * keys[slot, head, seen, i]
                scores[seen] = product * factor
                largest = max(largest, scores[seen])
            total = np.float32(0)
            for seen in range(num_seen):
                scores[seen] = np.exp(scores[seen] - largest)
            for seen in range(num_seen):
                total += scores[seen]
            for i in range(head_dim):
                y[token, first + i] = np.float32(0)
            for seen in range(num_seen):
                share = scores[seen] / total
                for i in range(head_dim):
                    y[token, first + i] += share * values[slot, head, seen, i]


@_compiled
def embed(ids: Any, positions: Any, table: Any, scale: Any, position_table: Any, x: Any) -> None:
    """``x`` (N, C): the sum of the embeddings of ids and positions."""
    for token in range(ids.shape[0]):
        for i in range(x.shape[1]):
            entry = np.float32(table[ids[token], i]) * scale[ids[token]]
            x[token, i] = entry + position_table[positions[token], i]


@_compiled
def block(
    x: Any,
    scratch: Any,
    norms: Any,
    epsilon: Any,
    layer: Any,
    keys: Any,
    values: Any,
    slots: Any,
    positions: Any,
) -> None:
    """One layer on x (N, C), in place.

    ``scratch`` is (N, C), (N, 3 C), (N, 4 C) and (S,); ``norms`` (4, C) gain and bias of both
    norms; ``layer`` the four matrices as (weight, scale, bias).
    """
    y, fused, wide, scores = scratch
    attention_in, attention_out, mlp_in, mlp_out = layer
    layer_norm(x, norms[0], norms[1], epsilon, y)
    linear(y, attention_in[0], attention_in[1], attention_in[2], fused)
    attend(fused, keys, values, slots, positions, scores, y)
    add_linear(y, attention_out[0], attention_out[1], attention_out[2], x)
    layer_norm(x, norms[2], norms[3], epsilon, y)
    linear(y, mlp_in[0], mlp_in[1], mlp_in[2], wide)
    gelu(wide)
    add_linear(wide, mlp_out[0], mlp_out[1], mlp_out[2], x)
