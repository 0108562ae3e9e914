"""Runners execute the steps of the engine: batches of tokens in, logits out."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from codeling.generation.scheduler import Batch


class Runner(Protocol):
    """A network with a key-value cache in slots."""

    @property
    def context_length(self) -> int:
        """Number of positions."""

    @property
    def vocab_size(self) -> int:
        """Number of logits per token."""

    @property
    def device(self) -> str:
        """``cpu`` or ``cuda``."""

    @property
    def precision(self) -> str:
        """Type of the weights: ``float32``, ``bfloat16`` or ``int8``."""

    @property
    def max_drafts(self) -> int:
        """Number of tokens that take about the time of one and give the same logits, bit for bit.

        0 if there are none.
        """

    def copy(self) -> "Runner":
        """A runner with the same weights and no slots."""

    @property
    def slot_bytes(self) -> int:
        """Memory of one slot when it is full."""

    def reserve(self, num_slots: int) -> None:
        """Increase the number of slots to at least ``num_slots``; contents are kept."""

    def run(self, batch: Batch) -> NDArray[np.float32]:
        """Execute one step: the forks in order, then the rows.

        Returns the logits after the last ``num_logits`` tokens of each row, (sum of them, V), in
        order; the caller may change them. A row's logits do not depend on the other rows, up to
        rounding.
        """
