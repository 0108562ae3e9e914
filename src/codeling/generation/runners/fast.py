"""The runner for CPUs: the cost of a token is close to that of reading the weights.

A few tokens use compiled kernels (:mod:`codeling.generation.runners.kernels`), many use the matrix
products of numpy's BLAS. This module must not know torch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from codeling.generation.runners import kernels
from codeling.generation.scheduler import Batch, Row

Floats = NDArray[np.float32]

_MANY_TOKENS = 24
"""Number of tokens in a row from which BLAS matrix products are faster than the kernels."""

_PANEL_ROWS = 1024
"""Rows of an int8 matrix that are converted to fp32 at a time; they fit the CPU's cache."""


class Matrix(NamedTuple):
    """A linear layer."""

    weight: NDArray[Any]
    """(out, in), int8 or fp32."""
    scale: Floats
    """(out,): factor of each row of an int8 weight; ones for fp32."""
    bias: Floats
    """(out,)."""


@dataclass(frozen=True)
class Weights:
    """The weights of a GPT-2 in the layout of the kernels."""

    n_head: int
    epsilon: float
    embedding: Matrix
    """(V, C); also the output head, whose bias is zero."""
    positions: Floats
    """(S, C)."""
    norms: Floats
    """(L + 1, 4, C): gain and bias of both norms of each layer, then of the final norm."""
    layers: Sequence[tuple[Matrix, Matrix, Matrix, Matrix]]
    """Attention in, attention out, MLP in, MLP out."""


def matrix(weight: Floats, bias: Floats, *, int8: bool) -> Matrix:
    """Convert ``weight`` (out, in) to fp32, or to int8 with one scale per row."""
    weight = np.ascontiguousarray(weight, np.float32)
    bias = np.ascontiguousarray(bias, np.float32)
    if not int8:
        return Matrix(weight, np.ones(len(weight), np.float32), bias)
    scale = np.abs(weight).max(axis=1) / np.float32(127)
    scale[scale == 0] = 1
    return Matrix(np.rint(weight / scale[:, None]).astype(np.int8), scale, bias)


class FastRunner:
    """Runs a GPT-2 on one CPU thread."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self._keys: Floats = self._store(0)
        self._values: Floats = self._store(0)
        self._blas = ThreadpoolController()

    @property
    def context_length(self) -> int:
        """Number of positions."""
        return len(self.weights.positions)

    @property
    def vocab_size(self) -> int:
        """Number of logits per token."""
        return len(self.weights.embedding.weight)

    @property
    def device(self) -> str:
        """The device's type."""
        return "cpu"

    @property
    def precision(self) -> str:
        """``float32`` or ``int8``."""
        dtype = self.weights.embedding.weight.dtype
        return "float32" if dtype == np.float32 else "int8"

    def copy(self) -> "FastRunner":
        """A runner with the same weights and no slots."""
        return FastRunner(self.weights)

    @property
    def slot_bytes(self) -> int:
        """Memory of one slot when it is full."""
        return 2 * self._keys.itemsize * len(self.weights.layers) * self.weights.positions.size

    def _store(self, num_slots: int) -> Floats:
        """Allocate (L, slots, H, S, D) zeros; pages that are never written take no memory."""
        num_positions, width = self.weights.positions.shape
        n_head = self.weights.n_head
        shape = (len(self.weights.layers), num_slots, n_head, num_positions, width // n_head)
        return np.zeros(shape, np.float32)

    def reserve(self, num_slots: int) -> None:
        """Increase the number of slots to at least ``num_slots``; contents are kept."""
        num_before = self._keys.shape[1]
        if num_slots <= num_before:
            return
        for name in ("_keys", "_values"):
            grown = self._store(num_slots)
            grown[:, :num_before] = getattr(self, name)
            setattr(self, name, grown)

    def run(self, batch: Batch) -> Floats:
        """Execute one step; see :class:`codeling.generation.runners.Runner`."""
        for source, target, length in batch.forks:
            for store in (self._keys, self._values):
                store[:, target, :, :length] = store[:, source, :, :length]
        few = [row for row in batch.rows if len(row.ids) < _MANY_TOKENS]
        hidden: dict[int, Floats] = self._read(few, kernels.block) if few else {}
        with self._blas.limit(limits=1, user_api="blas"):
            for row in batch.rows:
                if len(row.ids) >= _MANY_TOKENS:
                    hidden.update(self._read([row], _block_by_blas))
        wanted = [hidden[row.slot] for row in batch.rows if row.wants_logits]
        logits = np.empty((len(wanted), self.vocab_size), np.float32)
        if wanted:
            kernels.linear(np.stack(wanted), *self.weights.embedding, logits)
        return logits

    def _read(self, rows: Sequence[Row], block: Callable[..., None]) -> dict[int, Floats]:
        """Read the tokens of ``rows`` through ``block``, which computes one layer.

        Return the wanted last hidden states (C,) by slot.
        """
        weights = self.weights
        ids = np.array([i for row in rows for i in row.ids])
        slots = np.repeat([row.slot for row in rows], [len(row.ids) for row in rows])
        positions = np.concatenate([row.start + np.arange(len(row.ids)) for row in rows])
        width = weights.positions.shape[1]
        x, y = np.empty((2, len(ids), width), np.float32)
        fused = np.empty((len(ids), 3 * width), np.float32)
        wide = np.empty((len(ids), 4 * width), np.float32)
        scratch = y, fused, wide, np.empty(self.context_length, np.float32)
        epsilon = np.float32(weights.epsilon)
        table = weights.embedding
        kernels.embed(ids, positions, table.weight, table.scale, weights.positions, x)
        for number, layer in enumerate(weights.layers):
            cache = self._keys[number], self._values[number], slots, positions
            block(x, scratch, weights.norms[number], epsilon, layer, *cache)
        ends = np.cumsum([len(row.ids) for row in rows]) - 1
        last = np.ascontiguousarray(x[ends])
        out = np.empty_like(last)
        kernels.layer_norm(last, weights.norms[-1, 0], weights.norms[-1, 1], epsilon, out)
        return {row.slot: state for row, state in zip(rows, out, strict=True) if row.wants_logits}


def _block_by_blas(
    x: Floats,
    scratch: tuple[Floats, Floats, Floats, Floats],
    norms: Floats,
    epsilon: np.float32,
    layer: tuple[Matrix, Matrix, Matrix, Matrix],
    keys: Floats,
    values: Floats,
    slots: NDArray[np.int64],
    positions: NDArray[np.int64],
) -> None:
    """:func:`codeling.generation.runners.kernels.block` for many tokens."""
    y, fused, wide, scores = scratch
    attention_in, attention_out, mlp_in, mlp_out = layer
    kernels.layer_norm(x, norms[0], norms[1], epsilon, y)
    _product(y, attention_in, fused)
    kernels.attend(fused, keys, values, slots, positions, scores, y)
    x += _product(y, attention_out, np.empty_like(x))
    kernels.layer_norm(x, norms[2], norms[3], epsilon, y)
    _product(y, mlp_in, wide)
    kernels.gelu(wide)
    x += _product(wide, mlp_out, y)


def _product(x: Floats, layer: Matrix, y: Floats) -> Floats:
    """Compute ``y = x @ layer``: x (N, in), y (N, out)."""
    for first in range(0, len(layer.weight), _PANEL_ROWS):
        rows = slice(first, first + _PANEL_ROWS)
        panel = layer.weight[rows]
        if panel.dtype != np.float32:
            panel = panel * layer.scale[rows, None]
        np.matmul(x, panel.T, out=y[:, rows])
        y[:, rows] += layer.bias[rows]
    return y
