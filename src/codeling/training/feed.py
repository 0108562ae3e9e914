"""The rows of one step after another, taken ahead while the last step is computed.

On an accelerator the processor packs the next rows in a thread of its own, so that the
accelerator does not wait; on a processor that would take from the step what it gives. This
module must not know about networks.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from codeling.dataset.loader import Loader, Position


@dataclass(frozen=True)
class Batch:
    """All rows of one step, whatever the number of processes."""

    rows: NDArray[np.int64]
    """(R, T + 1)."""
    position: Position
    """After them."""


class Feed:
    """Batches from a position on, without end."""

    def __init__(
        self, loader: Loader, position: Position, rows_per_step: int, *, ahead: bool
    ) -> None:
        """``ahead``: pack the next batch while the one before is used."""
        self._rows: Iterator[tuple[NDArray[np.int64], Position]] = loader.shuffled_rows(position)
        self._count = rows_per_step
        self._executor = ThreadPoolExecutor(1, "feed") if ahead else None
        self._next: Future[Batch] | None = None

    def take(self) -> Batch:
        """The next batch."""
        if self._executor is None:
            return self._pack()
        following = self._next or self._executor.submit(self._pack)
        batch = following.result()
        self._next = self._executor.submit(self._pack)
        return batch

    def close(self) -> None:
        """End the thread; what it packed ahead is dropped."""
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)

    def _pack(self) -> Batch:
        taken = list(islice(self._rows, self._count))
        return Batch(np.stack([row for row, _ in taken]), taken[-1][1])
