"""Keys and values of the tokens that a network has read, in slots that are allocated once.

A slot holds one sequence. It starts at position 0 and grows to the right, so the index of an entry
is its position. A query at position p sees the entries 0 … p of its own slot and nothing else, so a
sequence gets the same logits in any batch. Sequences of different lengths are padded on the right;
padding is written beyond every query and overwritten by the tokens that follow.

A pass over some slots is a :class:`CacheRows`, which :meth:`KeyValueCache.rows` makes. This module
must not know which sequence owns a slot, nor what its tokens are.

Shapes: B rows of a pass, H heads, T new positions, S entries, D head width.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from codeling.model.config import GPT2Config


class KeyValueCache:
    """``num_slots`` slots with room for ``capacity`` positions each."""

    def __init__(
        self,
        config: GPT2Config,
        num_slots: int,
        *,
        capacity: int | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        """Allocate ``2 * n_layer * num_slots * capacity * n_embd`` numbers.

        ``capacity`` defaults to the context length, which is also its maximum.
        """
        self.capacity = min(capacity or config.context_length, config.context_length)
        self.num_slots = num_slots
        shape = (config.n_layer, num_slots, config.n_head, self.capacity, config.head_dim)
        self.keys = _zeros(shape, dtype, device)
        self.values = _zeros(shape, dtype, device)

    def rows(self, slots: Sequence[int], starts: Sequence[int], num_new: int) -> "CacheRows":
        """One pass: row b reads ``num_new`` tokens into ``slots[b]`` from ``starts[b]`` on."""
        assert max(starts) + num_new <= self.capacity, "more tokens than the slot has room for"
        return CacheRows(self, slots, starts, num_new)

    def fork(self, source: int, target: int, length: int) -> None:
        """Copy the first ``length`` entries of the slot ``source`` to ``target``."""
        if length and source != target:
            for store in (self.keys, self.values):
                store[:, target, :, :length] = store[:, source, :, :length]

    def grown(self, num_slots: int) -> "KeyValueCache":
        """A cache of ``num_slots`` slots, the first of which are those of this one."""
        other = object.__new__(KeyValueCache)
        other.capacity, other.num_slots = self.capacity, num_slots
        shape = (self.keys.size(0), num_slots, *self.keys.shape[2:])
        for name in ("keys", "values"):
            old: Tensor = getattr(self, name)
            new = _zeros(shape, old.dtype, old.device)
            new[:, : self.num_slots] = old
            setattr(other, name, new)
        return other


class CacheRows:
    """The slots that one pass reads and writes; the same in every layer."""

    def __init__(
        self, cache: KeyValueCache, slots: Sequence[int], starts: Sequence[int], num_new: int
    ) -> None:
        self._cache = cache
        self._num_new = num_new
        device = cache.keys.device
        first = torch.tensor(list(starts), dtype=torch.long, device=device)
        self.positions = first[:, None] + torch.arange(num_new, device=device)
        """(B, T): the positions of the new tokens."""
        self._slots = torch.tensor(list(slots), dtype=torch.long, device=device)[:, None]
        self._segments = [
            _SlotRun(slots, starts, num_new, begin, end, self.positions)
            for begin, end in _slot_runs(slots)
        ]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Store ``key`` and ``value``; attention of ``query`` over all entries so far.

        All are (B, H, T, D), as is the result.
        """
        keys, values = self._cache.keys[layer], self._cache.values[layer]
        for store, new in ((keys, key), (values, value)):
            self._write(store, new)
        outputs = [
            functional.scaled_dot_product_attention(
                query[segment.rows],
                keys[segment.slots, :, : segment.stop],
                values[segment.slots, :, : segment.stop],
                attn_mask=segment.mask,
            )
            for segment in self._segments
        ]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)

    def _write(self, store: Tensor, new: Tensor) -> None:
        only = self._segments[0]
        if len(self._segments) == 1 and only.start is not None:
            store[only.slots, :, only.start : only.stop] = new
        else:
            store[self._slots, :, self.positions] = new.transpose(1, 2)


class _SlotRun:
    """Rows of a pass with adjacent slots, so that their entries are one view."""

    def __init__(
        self,
        slots: Sequence[int],
        starts: Sequence[int],
        num_new: int,
        begin: int,
        end: int,
        positions: Tensor,
    ) -> None:
        self.rows = slice(begin, end)
        self.slots = slice(slots[begin], slots[begin] + end - begin)
        self.stop = max(starts[begin:end]) + num_new
        """One past the last entry that one of these rows writes."""
        self.start = starts[begin] if len(set(starts[begin:end])) == 1 else None
        """The first entry that is written, where it is the same in all rows."""
        self.mask: Tensor | None = None
        """(B, 1, T, S): which entries a query sees; None: all."""
        if num_new > 1 or self.start is None:
            entries = torch.arange(self.stop, device=positions.device)
            self.mask = (entries <= positions[begin:end, :, None])[:, None]


def _slot_runs(slots: Sequence[int]) -> list[tuple[int, int]]:
    """Runs of rows whose slots follow one another: (first row, one past the last)."""
    cuts = [row for row in range(1, len(slots)) if slots[row] != slots[row - 1] + 1]
    return list(zip([0, *cuts], [*cuts, len(slots)], strict=True))


def _zeros(shape: Sequence[int], dtype: torch.dtype, device: torch.device | str) -> Tensor:
    """Zeros: a masked entry still enters a sum, times 0, so it must not be NaN.

    On a processor the pages of slots that are never used take no memory.
    """
    if torch.device(device).type == "cpu":
        num_bytes = int(np.prod(shape)) * dtype.itemsize
        return torch.from_numpy(np.zeros(num_bytes, np.uint8)).view(dtype).view(*shape)
    return torch.zeros(tuple(shape), dtype=dtype, device=device)
