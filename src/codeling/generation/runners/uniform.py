"""A runner without a model: all tokens are equally likely. It measures a memory alone."""

import numpy as np
from numpy.typing import NDArray

from codeling.generation.scheduler import Batch


class UniformRunner:
    """A runner without weights, in the place of one with the same vocabulary and context."""

    device = "cpu"
    precision = "float32"
    slot_bytes = 0
    max_drafts = 0

    def __init__(self, vocab_size: int, context_length: int) -> None:
        self.vocab_size = vocab_size
        self.context_length = context_length

    def copy(self) -> "UniformRunner":
        """A new runner of the same sizes."""
        return UniformRunner(self.vocab_size, self.context_length)

    def reserve(self, num_slots: int) -> None:
        """There is nothing to reserve."""

    def run(self, batch: Batch) -> NDArray[np.float32]:
        """Zeros (rows, V)."""
        num_logits = sum(row.num_logits for row in batch.rows)
        return np.zeros((num_logits, self.vocab_size), np.float32)
