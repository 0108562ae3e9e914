"""Packs the sequences of the next steps while the current one is computed.

On an accelerator, a process of its own packs ahead: a thread would compete for Python's lock while
the main thread launches work, and the accelerator would wait. On a processor, packing ahead would
take cores from the step, so sequences are packed when they are needed. The process is spawned, not
forked: this one has threads by then, and fork exists on POSIX alone. This module must not know
about networks.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection
from queue import Queue

import numpy as np
from numpy.typing import NDArray

from codeling.dataset.loader import WINDOW_SEQUENCES, Loader, Position
from codeling.errors import TrainingError


@dataclass(frozen=True)
class TrainingBatch:
    """All sequences of one step, whatever the number of processes."""

    sequences: NDArray[np.int64]
    """(B, T + 1)."""
    position: Position
    """Position of the next batch."""


class Prefetcher:
    """Batches from a position on, without end."""

    def __init__(
        self, loader: Loader, position: Position, batch_size: int, *, in_process: bool
    ) -> None:
        """``in_process``: pack each batch when it is asked for; otherwise another process packs
        ahead.
        """
        self._batches = _batches(loader, position, batch_size)
        self._worker = None if in_process else _Worker(loader, position, batch_size)

    def next_batch(self) -> TrainingBatch:
        """The next batch.

        :raises TrainingError: the process that packs batches has died.
        """
        return next(self._batches) if self._worker is None else self._worker.next_batch()

    def close(self) -> None:
        """End the process; batches that it packed ahead are dropped."""
        if self._worker is not None:
            self._worker.close()


def _batches(loader: Loader, position: Position, batch_size: int) -> Iterator[TrainingBatch]:
    sequences = loader.shuffled_sequences(position)
    while True:
        taken = list(islice(sequences, batch_size))
        yield TrainingBatch(np.stack([sequence for sequence, _ in taken]), taken[-1][1])


class _Worker:
    """A process that packs batches."""

    def __init__(self, loader: Loader, position: Position, batch_size: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._receiving, sending = context.Pipe(duplex=False)
        arguments = (loader, position, batch_size, sending)
        self._process = context.Process(target=_pack, args=arguments, daemon=True)
        with _stop_signals_blocked():
            self._process.start()
        sending.close()

    def next_batch(self) -> TrainingBatch:
        try:
            received = self._receiving.recv()
        except (EOFError, OSError) as error:
            raise TrainingError(
                "the process that packs batches has died; the same command continues from the "
                "last checkpoint"
            ) from error
        if isinstance(received, Exception):
            raise received
        assert isinstance(received, TrainingBatch)
        return received

    def close(self) -> None:
        self._process.kill()
        self._process.join()
        self._receiving.close()


@contextmanager
def _stop_signals_blocked() -> Iterator[None]:
    """Start a process that gets no SIGINT and SIGTERM until it ignores them (POSIX).

    A terminal signals all processes; this one saves first and then ends the other.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # its start would unblock the signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _pack(loader: Loader, position: Position, batch_size: int, sending: Connection) -> None:
    """Pack at most a window of sequences ahead of those sent, until the receiver is gone."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, set(numbers))
    packed: Queue[TrainingBatch | Exception] = Queue(-(-WINDOW_SEQUENCES // batch_size))

    def send() -> None:
        try:
            while True:
                sending.send(packed.get())
        finally:  # the receiver is gone, or it is an error that cannot be sent
            os._exit(0)

    threading.Thread(target=send, daemon=True).start()
    try:
        for batch in _batches(loader, position, batch_size):
            packed.put(batch)
    except Exception as error:  # any error is raised where the batch is received
        packed.put(error)
        while True:  # until it is sent and the other process ends this one
            time.sleep(3600)
