"""The runner for CPUs: the cost of a token is close to that of reading the weights.

Its arithmetic is in :mod:`codeling.generation.runners.kernels`, which is imported only to be
compiled. This module must not know torch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from codeling.arrays.native import kernel_of
from codeling.generation.runners.denominators import SOURCES, log_denominators
from codeling.generation.runners.processor import (
    DOT,
    GROUP,
    LANES,
    OUTPUTS,
    TILE_BLOCKS,
    TILE_ROWS,
)
from codeling.generation.scheduler import Batch, Row

Floats = NDArray[np.float32]

_ZERO = 128
"""The stored form of an int8 weight of 0."""

_forward = kernel_of(f"{__package__}.kernels", "forward", *SOURCES)


class Matrix(NamedTuple):
    """A linear layer. Inputs and outputs are padded with zeros to multiples of 64."""

    weight: NDArray[Any]
    """(outputs / 16, inputs * 16), fp32 or uint8: blocks of 16 outputs, whose weights alternate
    with each input, or with each 2 or 4 inputs for uint8. A uint8 weight is an int8 plus 128."""
    scale: Floats
    """(outputs,): factor of an output's int8 weights; ones for fp32."""
    bias: Floats
    """(outputs,)."""

    @classmethod
    def stack(cls, matrices: "Sequence[Matrix]") -> "Matrix":
        """One matrix per layer; every array gets L as its first dimension."""
        return cls(*(np.stack(arrays) for arrays in zip(*matrices, strict=True)))


@dataclass(frozen=True)
class Weights:
    """The weights of a GPT-2 in the layout of the kernels."""

    n_head: int
    epsilon: float
    vocab_size: int
    embedding: Matrix
    """C to V: the table of embeddings, and the output head, whose bias is zero."""
    positions: Floats
    """(S, C)."""
    norms: Floats
    """(L + 1, 4, C): gain and bias of both norms of each layer, then of the final norm."""
    layers: tuple[Matrix, Matrix, Matrix, Matrix]
    """Attention in, attention out, MLP in, MLP out; each of all layers."""


def padded(size: int) -> int:
    """The next multiple of 64."""
    return -(-size // GROUP) * GROUP


def matrix(weight: Floats, bias: Floats, *, int8: bool) -> Matrix:
    """Convert ``weight`` (outputs, inputs) to fp32, or to int8 with one scale per output."""
    shape = padded(weight.shape[0]), padded(weight.shape[1])
    scale = np.ones(shape[0], np.float32)
    inner = 1
    stored: NDArray[Any]
    if int8:
        inner = DOT.size
        largest = np.abs(weight).max(axis=1)
        scale[: len(weight)] = np.where(largest > 0, largest, 127) / np.float32(127)
        stored = np.full(shape, _ZERO, np.uint8)
        rounded = np.rint(weight / scale[: len(weight), None]).astype(np.int16)
        stored[: len(weight), : weight.shape[1]] = rounded + _ZERO
    else:
        stored = np.zeros(shape, np.float32)
        stored[: len(weight), : weight.shape[1]] = weight
    blocks = stored.reshape(shape[0] // LANES, LANES, shape[1] // inner, inner)
    packed = np.ascontiguousarray(blocks.transpose(0, 2, 1, 3)).reshape(len(blocks), -1)
    padded_bias = np.zeros(shape[0], np.float32)
    padded_bias[: len(bias)] = bias
    return Matrix(packed, scale, padded_bias)


class FastRunner:
    """Runs a GPT-2 on one CPU thread."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self._keys, self._values = self._stores(0)
        self._scratch: tuple[Any, ...] = ()
        self._scratch_tokens = 0

    @property
    def _num_layers(self) -> int:
        return len(self.weights.norms) - 1

    @property
    def context_length(self) -> int:
        """Number of positions."""
        return len(self.weights.positions)

    @property
    def vocab_size(self) -> int:
        """Number of logits per token."""
        return self.weights.vocab_size

    @property
    def device(self) -> str:
        """The device's type."""
        return "cpu"

    @property
    def precision(self) -> str:
        """``float32`` or ``int8``."""
        dtype = self.weights.embedding.weight.dtype
        return "float32" if dtype == np.float32 else "int8"

    @property
    def max_drafts(self) -> int:
        """As many as fill a tile of tokens."""
        return TILE_ROWS - 1

    def copy(self) -> "FastRunner":
        """A runner with the same weights and no slots."""
        return FastRunner(self.weights)

    @property
    def slot_bytes(self) -> int:
        """Memory of one slot when it is full."""
        num_heads = self._num_layers * self.weights.n_head
        per_head = math.prod(self._keys.shape[3:]) + math.prod(self._values.shape[3:])
        return self._keys.itemsize * num_heads * per_head

    def _stores(self, num_slots: int) -> tuple[Floats, Floats]:
        """Zeros for keys (L, slots, H, S / 64, D, 64) and values (L, slots, H, S, D).

        S and the D of values are padded. Pages that are never written take no memory.
        """
        num_positions, width = self.weights.positions.shape
        heads = self._num_layers, num_slots, self.weights.n_head
        head_width, num_entries = width // self.weights.n_head, padded(num_positions)
        keys = np.zeros((*heads, num_entries // OUTPUTS, head_width, OUTPUTS), np.float32)
        return keys, np.zeros((*heads, num_entries, padded(head_width)), np.float32)

    def reserve(self, num_slots: int) -> None:
        """Increase the number of slots to at least ``num_slots``; contents are kept."""
        num_before = self._keys.shape[1]
        if num_slots <= num_before:
            return
        keys, values = self._stores(num_slots)
        keys[:, :num_before], values[:, :num_before] = self._keys, self._values
        self._keys, self._values = keys, values

    def run(self, batch: Batch) -> Floats:
        """Execute one step; see :class:`codeling.generation.runners.Runner`."""
        return self._logits(batch)[:, : self.vocab_size]

    def token_nats(self, row: Row, targets: Sequence[int]) -> NDArray[np.float64]:
        """Execute a step of one row; return the cross entropy of ``targets`` (R,) in nats, (R,).

        The targets follow the last R tokens of the row, whose ``num_logits`` is R.
        """
        logits = self._logits(Batch(rows=[row]))
        logits[:, self.vocab_size :] = -np.inf
        wanted = logits[np.arange(len(targets)), targets].astype(np.float64)
        nats: NDArray[np.float64] = log_denominators(logits) - wanted
        return nats

    def _logits(self, batch: Batch) -> Floats:
        """Execute one step; the logits are padded to a multiple of 64."""
        for source, target, length in batch.forks:
            pages = -(-length // OUTPUTS)
            self._keys[:, target, :, :pages] = self._keys[:, source, :, :pages]
            self._values[:, target, :, :length] = self._values[:, source, :, :length]
        weights, rows = self.weights, batch.rows
        if not rows:
            return np.empty((0, len(weights.embedding.bias)), np.float32)
        ids = np.array([i for row in rows for i in row.ids])
        slots = np.array([row.slot for row in rows for _ in row.ids])
        positions = np.array([row.start + i for row in rows for i in range(len(row.ids))])
        ends = _ends(rows)
        is_int8 = weights.embedding.weight.dtype == np.uint8
        logits = np.empty((len(ends), len(weights.embedding.bias)), np.float32)
        _forward(
            ids,
            slots,
            positions,
            ends,
            (
                weights.embedding,
                weights.positions,
                weights.norms,
                np.float32(weights.epsilon),
                weights.layers,
            ),
            (DOT.size, np.float32(_ZERO)) if is_int8 else (1, np.float32(0)),
            self._keys,
            self._values,
            self._scratch_of(len(ids)),
            logits,
        )
        return logits

    def _scratch_of(self, num_tokens: int) -> tuple[Any, ...]:
        """Space for the kernel to work in; a part of that of an earlier step if it suffices."""
        if self._scratch_tokens < num_tokens:
            self._scratch, self._scratch_tokens = self._new_scratch(num_tokens), num_tokens
        *rows, attending, multiplying = self._scratch
        return *(each[:num_tokens] for each in rows), attending, multiplying

    def _new_scratch(self, num_tokens: int) -> tuple[Any, ...]:
        width = self.weights.positions.shape[1]
        x, y = np.zeros((2, num_tokens, padded(width)), np.float32)
        fused, wide = (np.empty((num_tokens, padded(n * width)), np.float32) for n in (3, 4))
        scores = np.empty((TILE_ROWS, self._values.shape[-2] + LANES), np.float32)
        result = np.empty(TILE_ROWS * self._values.shape[-1], np.float32)
        totals = np.empty(TILE_ROWS, np.float32)
        num_groups = num_tokens * padded(4 * width) // GROUP
        integers = np.empty(num_groups * GROUP, np.dtype(f"int{DOT.activation_bits}"))
        scales, offsets = np.empty(num_groups, np.float32), np.empty(num_groups, np.int32)
        tile = np.empty(max(TILE_ROWS * TILE_BLOCKS * LANES, OUTPUTS), np.float32)
        multiplying = (integers, scales, offsets), tile
        return x, y, fused, wide, (scores, result, totals), multiplying


def _ends(rows: Sequence[Row]) -> NDArray[np.int64]:
    """Index of each token whose logits are wanted."""
    ends = accumulate(len(row.ids) for row in rows)
    return np.array(
        [i for row, end in zip(rows, ends, strict=True) for i in range(end - row.num_logits, end)],
        np.int64,
    )
