"""Several engines that share their weights, each in a thread of its own.

Kernels run without Python's lock, so a second thread uses a second core. A user stays with one
engine, which has the file in its cache, unless it is much busier than another. This module must not
know asyncio, sockets or dialects.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from codeling.generation.engine import Engine
from codeling.serving.engine_worker import EngineWorker, WorkItem, WorkUpdate

_MAX_KEYS = 4096
"""People and files whose engine is remembered."""
_BUSIER = 8
"""Difference in the number of items from which on a user moves to another engine."""


class EnginePool:
    """Takes the place of one :class:`~codeling.serving.engine_worker.EngineWorker`."""

    def __init__(
        self, engine: Engine, deliver: Callable[[Sequence[WorkUpdate]], None], num_engines: int
    ) -> None:
        """Use ``engine`` and copies of it. ``deliver`` is called in their threads."""
        engines = [engine, *(engine.copy() for _ in range(num_engines - 1))]
        self._workers = [EngineWorker(each, deliver) for each in engines]
        self._homes: OrderedDict[str, EngineWorker] = OrderedDict()

    @property
    def num_waiting(self) -> int:
        """Number of sequences that have no slot yet."""
        return sum(len(worker.engine.scheduler.waiting) for worker in self._workers)

    def reserve(self, num_running: int, num_recent: int) -> None:
        """Slots of each engine: for ``num_running``, and its share of ``num_recent``."""
        for worker in self._workers:
            worker.engine.reserve(num_running, num_recent // len(self._workers))

    def start(self) -> None:
        """Start the threads."""
        for worker in self._workers:
            worker.start()

    def stop(self) -> None:
        """End the threads after their current steps. Unfinished items end with what they have."""
        for worker in self._workers:
            worker.stop()

    def submit(self, item: WorkItem) -> None:
        """Queue an item with the engine of its :attr:`WorkItem.affinity`."""
        least = min(self._workers, key=lambda worker: worker.num_items)
        worker = self._homes.pop(item.affinity, least)
        if worker.num_items >= least.num_items + _BUSIER:
            worker = least
        self._homes[item.affinity] = worker
        if len(self._homes) > _MAX_KEYS:
            self._homes.popitem(last=False)
        item.worker = worker
        worker.submit(item)

    def cancel(self, item: WorkItem) -> None:
        """End an item before its next step, with the text so far."""
        if item.worker is not None:
            item.worker.cancel(item)
