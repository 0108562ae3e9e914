"""The rows of one step after another, packed while the last step is computed.

On an accelerator a process of its own packs ahead: a thread would hold Python's lock again and
again while the first one has work to hand over, and the accelerator would wait. On a processor
that would take from the step what it gives, so there rows are packed when they are taken. This
module must not know about networks.
"""

import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection
from queue import Queue

import numpy as np
from numpy.typing import NDArray

from codeling.dataset.loader import WINDOW_SEQUENCES, Loader, Position
from codeling.errors import TrainingError


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
        """``ahead``: pack the next batches in another process while one is used."""
        self._batches = _batches(loader, position, rows_per_step)
        self._ahead = (
            _Ahead(self._batches, -(-WINDOW_SEQUENCES // rows_per_step)) if ahead else None
        )

    def take(self) -> Batch:
        """The next batch.

        :raises TrainingError: the process that packs them has ended.
        """
        return next(self._batches) if self._ahead is None else self._ahead.take()

    def close(self) -> None:
        """End the process; what it packed ahead is dropped."""
        if self._ahead is not None:
            self._ahead.close()


def _batches(loader: Loader, position: Position, rows_per_step: int) -> Iterator[Batch]:
    rows = loader.shuffled_sequences(position)
    while True:
        taken = list(islice(rows, rows_per_step))
        yield Batch(np.stack([row for row, _ in taken]), taken[-1][1])


class _Ahead:
    """A process that packs; forked, because it reads the mapped tokens that this one has."""

    def __init__(self, batches: Iterator[Batch], depth: int) -> None:
        context = multiprocessing.get_context("fork")
        self._receiving, sending = context.Pipe(duplex=False)
        ends = (self._receiving, sending)
        self._process = context.Process(target=_pack, args=(batches, *ends, depth), daemon=True)
        with warnings.catch_warnings():  # of threads, which the child neither has nor waits for
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process.start()
        sending.close()

    def take(self) -> Batch:
        try:
            received = self._receiving.recv()
        except (EOFError, OSError) as error:
            raise TrainingError(
                "the process that packs rows has ended; the same command goes on from the last "
                "checkpoint"
            ) from error
        if isinstance(received, Exception):
            raise received
        assert isinstance(received, Batch)
        return received

    def close(self) -> None:
        self._process.kill()
        self._process.join()
        self._receiving.close()


def _pack(batches: Iterator[Batch], receiving: Connection, sending: Connection, depth: int) -> None:
    """Pack up to ``depth`` batches more than are sent, until nobody receives them."""
    receiving.close()
    for number in (signal.SIGINT, signal.SIGTERM):  # the first process saves, then ends this one
        signal.signal(number, signal.SIG_IGN)
    packed: Queue[Batch | Exception] = Queue(depth)

    def send() -> None:
        try:
            while True:
                sending.send(packed.get())
        finally:  # nobody receives it, or it is an error that cannot be sent
            os._exit(0)

    threading.Thread(target=send, daemon=True).start()
    try:
        for batch in batches:
            packed.put(batch)
    except Exception as error:  # whatever it is, it is raised where the batch is taken
        packed.put(error)
        signal.pause()
