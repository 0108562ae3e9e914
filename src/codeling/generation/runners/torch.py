"""The runner for any torch device, and the reference for the other runners."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from codeling.generation.scheduler import Batch, Row
from codeling.model.cache import KeyValueCache
from codeling.model.gpt2 import GPT2

_MAX_PADDING = 1.25
"""Maximum ratio of padded to real tokens for prefills to share a pass."""


class TorchRunner:
    """Runs ``model`` on the device of its weights, in its ``compute_dtype``."""

    def __init__(self, model: GPT2) -> None:
        self.model = model
        self._cache: KeyValueCache | None = None

    @property
    def context_length(self) -> int:
        """Number of positions."""
        return self.model.config.context_length

    @property
    def vocab_size(self) -> int:
        """Number of logits per token."""
        return self.model.config.vocab_size

    @property
    def device(self) -> str:
        """``cpu`` or ``cuda``."""
        return self.model.wte.weight.device.type

    @property
    def precision(self) -> str:
        """``float32`` or ``bfloat16``."""
        return str(self.model.compute_dtype).removeprefix("torch.")

    @property
    def max_drafts(self) -> int:
        """None: a pass of several tokens rounds differently."""
        return 0

    def copy(self) -> "TorchRunner":
        """A runner with the same model and no slots."""
        return TorchRunner(self.model)

    @property
    def slot_bytes(self) -> int:
        """Memory of one slot when it is full."""
        config = self.model.config
        values = 2 * config.n_layer * config.context_length * config.n_embd
        return values * self.model.compute_dtype.itemsize

    def reserve(self, num_slots: int) -> None:
        """Increase the number of slots to at least ``num_slots``; contents are kept."""
        if self._cache is None:
            self._cache = KeyValueCache(
                self.model.config,
                num_slots,
                dtype=self.model.compute_dtype,
                device=self.model.wte.weight.device,
            )
        elif num_slots > self._cache.num_slots:
            self._cache = self._cache.grown(num_slots)

    @torch.inference_mode()
    def run(self, batch: Batch) -> NDArray[np.float32]:
        """Execute one step; see :class:`codeling.generation.runners.Runner`."""
        cache = self._cache
        assert cache is not None, "call reserve() first"
        for fork in batch.forks:
            cache.fork(*fork)
        found: dict[int, torch.Tensor] = {}
        for rows in _passes(batch.rows, cache.capacity):
            found.update(self._pass(rows, cache))
        wanted = [found[row.slot] for row in batch.rows if row.num_logits]
        return torch.cat(wanted).numpy() if wanted else np.zeros((0, self.vocab_size), np.float32)

    def _pass(
        self, rows: Sequence[Row], cache: KeyValueCache
    ) -> Iterator[tuple[int, torch.Tensor]]:
        """Read the tokens of ``rows`` in one padded pass; return the wanted logits by slot."""
        device = self.model.wte.weight.device
        num_new = max(len(row.ids) for row in rows)
        ids = torch.tensor([row.ids + [0] * (num_new - len(row.ids)) for row in rows])
        slots, starts = [row.slot for row in rows], [row.start for row in rows]
        hidden = self.model.hidden(ids.to(device), cache.rows(slots, starts, num_new))
        numbers = [row.num_logits for row in rows]
        last = [
            hidden[place, len(row.ids) - row.num_logits : len(row.ids)]
            for place, row in enumerate(rows)
        ]
        logits = self.model.head(torch.cat(last)).float().cpu()
        return zip(slots, torch.split(logits, numbers), strict=True)


def _passes(rows: Sequence[Row], capacity: int) -> Iterator[list[Row]]:
    """Group rows of similar length whose padding fits the slots."""
    together: list[Row] = []
    for row in sorted(rows, key=lambda row: (-len(row.ids), row.slot)):
        if together:
            num_new = len(together[0].ids)
            num_tokens = sum(len(other.ids) for other in together) + len(row.ids)
            is_small = num_new * (len(together) + 1) <= _MAX_PADDING * num_tokens
            if not is_small or row.start + num_new > capacity:
                yield together
                together = []
        together.append(row)
    if together:
        yield together
