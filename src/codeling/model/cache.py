"""Keys and values of the tokens a network has seen, so that one more costs one pass over one.

Every row of a batch starts at slot 0 and grows to the right, so a slot is a position and rows
of different lengths need no shift: a query at position p sees the slots 0 … p of its row and
nothing else. Rows are padded on the right for the prefill; what the padding wrote lies beyond
every query until real tokens overwrite it. A row therefore gets the logits it gets alone.

The network calls :meth:`~KeyValueCache.positions` once, :meth:`~KeyValueCache.update` and
:meth:`~KeyValueCache.attention_mask` in each layer and :meth:`~KeyValueCache.advance` at the
end. With learned absolute positions a full cache cannot slide: whoever goes past the end
prefills again (:mod:`codeling.generation.engine`). This module must not know about ids.

Shapes: B rows, H heads, T new positions, S slots, D head width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from codeling.model.config import GPT2Config


class KeyValueCache:
    """Room for ``capacity`` positions in each of ``rows`` rows; ``lengths`` says what is filled."""

    def __init__(
        self,
        config: GPT2Config,
        rows: int,
        *,
        capacity: int | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        """Allocate ``2 * n_layer * rows * capacity * n_embd`` numbers.

        ``capacity`` defaults to, and is at most, the context length.
        """
        self.capacity = min(capacity or config.context_length, config.context_length)
        shape = (config.n_layer, rows, config.n_head, self.capacity, config.head_dim)
        # Zeros and not empty memory: a slot that is masked out still enters a sum, times 0.
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self.lengths = [0] * rows
        self._plan: _Plan | None = None

    def positions(self, num_new: int) -> Tensor:
        """(B, T): the positions, and slots, of each row's next ``num_new`` tokens."""
        return self._planned(num_new).slots

    def attention_mask(self, num_new: int) -> Tensor | None:
        """(B, 1, T, S): True where query t of row b may look at slot s; None where at all.

        S is what :meth:`update` returns: the slots up to the last one any row writes.
        """
        return self._planned(num_new).mask

    def update(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store ``key`` and ``value`` (B, H, T, D) of the next T tokens; all so far, (B, H, S, D).

        Stays at the same slots until :meth:`advance`.
        """
        plan = self._planned(key.size(2))
        for store, new in ((self.keys[layer], key), (self.values[layer], value)):
            if plan.start is not None:
                store[:, :, plan.start : plan.stop] = new
            else:
                store[plan.rows, :, plan.slots] = new.transpose(1, 2)
        return self.keys[layer, :, :, : plan.stop], self.values[layer, :, :, : plan.stop]

    def advance(self, num_new: int) -> None:
        """Count the ``num_new`` tokens just stored in every row."""
        self.set_lengths([length + num_new for length in self.lengths])

    def set_lengths(self, lengths: Sequence[int]) -> None:
        """Say how many positions of each row are real; after a padded prefill, for instance."""
        assert len(lengths) == len(self.lengths)
        assert all(0 <= length <= self.capacity for length in lengths)
        self.lengths = list(lengths)
        self._plan = None

    def select(self, rows: Sequence[int]) -> "KeyValueCache":
        """A cache of the rows named, in that order; a row may be named more than once."""
        index = torch.tensor(list(rows), dtype=torch.long, device=self.keys.device)
        other = object.__new__(KeyValueCache)
        other.capacity = self.capacity
        other.keys = self.keys.index_select(1, index)
        other.values = self.values.index_select(1, index)
        other.lengths = [self.lengths[row] for row in rows]
        other._plan = None
        return other

    def replace(self, rows: Sequence[int], other: "KeyValueCache") -> None:
        """Put the rows of ``other``, which has no more capacity, in place of ``rows``."""
        index = torch.tensor(list(rows), dtype=torch.long, device=self.keys.device)
        self.keys[:, index, :, : other.capacity] = other.keys
        self.values[:, index, :, : other.capacity] = other.values
        lengths = list(self.lengths)
        for row, length in zip(rows, other.lengths, strict=True):
            lengths[row] = length
        self.set_lengths(lengths)

    def _planned(self, num_new: int) -> "_Plan":
        if self._plan is None or self._plan.num_new != num_new:
            self._plan = _Plan(self.lengths, num_new, self.keys.device)
            assert self._plan.stop <= self.capacity, "more tokens than the cache has room for"
        return self._plan


class _Plan:
    """Where one pass writes and what it sees; the same for every layer."""

    def __init__(self, lengths: Sequence[int], num_new: int, device: torch.device) -> None:
        self.num_new = num_new
        self.stop = max(lengths) + num_new
        self.start = lengths[0] if len(set(lengths)) == 1 else None
        """The common first slot, where all rows are equally long."""
        first = torch.tensor(list(lengths), dtype=torch.long, device=device)
        self.slots = first[:, None] + torch.arange(num_new, device=device)
        self.rows = torch.arange(len(lengths), device=device)[:, None]
        self.mask: Tensor | None = None
        if num_new > 1 or self.start is None:
            seen = torch.arange(self.stop, device=device)
            self.mask = (seen <= self.slots[:, :, None])[:, None]
