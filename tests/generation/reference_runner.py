"""A runner without a model: its logits are an exact function of the ids in a row's slot.

It holds what a cache would hold, and so notices every slot that was not filled as the scheduler
believes.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from codeling.generation.scheduler import Batch


class ReferenceRunner:
    """Slots are lists of ids."""

    def __init__(self, context_length: int = 16, vocab_size: int = 40) -> None:
        self.context_length = context_length
        self.vocab_size = vocab_size
        self.slots: list[list[int]] = []
        self.num_read = 0
        """Number of tokens read so far."""

    def reserve(self, num_slots: int) -> None:
        self.slots += [[] for _ in range(num_slots - len(self.slots))]

    def run(self, batch: Batch) -> NDArray[np.float32]:
        for source, target, length in batch.forks:
            assert len(self.slots[source]) >= length
            self.slots[target] = self.slots[source][:length]
        assert len({row.slot for row in batch.rows}) == len(batch.rows)
        logits = []
        for row in batch.rows:
            assert row.ids
            assert row.start <= len(self.slots[row.slot])
            assert row.start + len(row.ids) <= self.context_length
            self.slots[row.slot] = self.slots[row.slot][: row.start] + row.ids
            self.num_read += len(row.ids)
            window = self.slots[row.slot]
            ends = range(len(window) - row.num_logits + 1, len(window) + 1)
            logits += [logits_after(window[:end], self.vocab_size) for end in ends]
        return np.array(logits, np.float32).reshape(len(logits), self.vocab_size)


def logits_after(window: list[int], vocab_size: int) -> NDArray[np.float32]:
    """Random logits (V,) that depend on the whole window."""
    digest = hashlib.blake2b(repr(window).encode(), digest_size=8).digest()
    generator = np.random.default_rng(int.from_bytes(digest, "big"))
    return generator.standard_normal(vocab_size, dtype=np.float32)
