"""The thread that owns the engine: it steps while there is work, and sleeps while there is none.

Other threads submit work and cancel it through a queue that is read before every step. What each
step has changed is delivered in one call. This module must not know asyncio, sockets or dialects.
"""

import queue
import threading
import time
from collections.abc import Callable
from collections.abc import Sequence as Ordered
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from codeling.generation.engine import Engine
from codeling.generation.logprobs import TokenLogprobs
from codeling.generation.sequence import Sequence


@dataclass(eq=False)
class WorkItem:
    """One sequence of a query on its way through the engine. The worker's thread owns it."""

    sequence: Sequence
    deadline: float
    """``time.monotonic()`` at which it ends with the text so far."""
    max_predict_seconds: float | None = None
    """Time from its first token at which it ends, if its text contains a line end."""
    only_end: bool = False
    """Report nothing before its end."""
    prefill_only: bool = False
    """End with the first token, which is discarded: the prompt is in the cache then."""
    submitted: float = field(default_factory=time.monotonic)
    admitted: float | None = None
    """When it got a place in the batch."""
    first_token: float | None = None
    ended: float | None = None
    num_reported: int = 0
    """Number of log-probabilities that were delivered."""

    def is_due(self, now: float) -> bool:
        """Whether its time is over."""
        if now >= self.deadline:
            return True
        limit = self.max_predict_seconds
        if limit is None or self.first_token is None or now < self.first_token + limit:
            return False
        return "\n" in self.sequence.output.text


class WorkUpdate(NamedTuple):
    """The changes of one item in a step."""

    item: WorkItem
    text: str
    """New text."""
    logprobs: tuple[TokenLogprobs, ...]
    """Of the new tokens."""
    done: bool
    error: BaseException | None = None
    """The bug that ended it."""


class SequenceWorker(Protocol):
    """Completes the sequences of a service."""

    @property
    def num_waiting(self) -> int:
        """Number of sequences that are queued."""

    def reserve(self, num_running: int, num_recent: int) -> None:
        """Make space for running sequences, and for the caches of recent ones."""

    def start(self) -> None:
        """Start the worker."""

    def stop(self) -> None:
        """Stop. Unfinished items end with what they have."""

    def submit(self, item: WorkItem) -> None:
        """Queue an item."""

    def cancel(self, item: WorkItem) -> None:
        """End an item soon, with the text so far."""


class _Cancel(NamedTuple):
    item: WorkItem


class EngineWorker:
    """Steps an engine in its own thread."""

    def __init__(self, engine: Engine, deliver: Callable[[Ordered[WorkUpdate]], None]) -> None:
        """``deliver`` is called in the worker's thread, and must return at once."""
        self.engine = engine
        self._deliver = deliver
        self._inbox: queue.SimpleQueue[WorkItem | _Cancel | None] = queue.SimpleQueue()
        self._items: dict[Sequence, WorkItem] = {}
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._stopping = False

    @property
    def num_waiting(self) -> int:
        """Number of sequences that have no slot yet."""
        return len(self.engine.scheduler.waiting)

    def reserve(self, num_running: int, num_recent: int) -> None:
        """Make space in the engine for running sequences, and for the caches of recent ones."""
        self.engine.reserve(num_running, num_recent)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread after its current step. Unfinished items end with what they have."""
        self._inbox.put(None)
        self._thread.join()

    def submit(self, item: WorkItem) -> None:
        """Queue an item."""
        self._inbox.put(item)

    def cancel(self, item: WorkItem) -> None:
        """End an item before its next step, with the text so far."""
        self._inbox.put(_Cancel(item))

    def _run(self) -> None:
        while not self._stopping:
            updates = self._receive()
            now = time.monotonic()
            due = [item for item in self._items.values() if item.is_due(now)]
            updates += [self._end(item) for item in due]
            if self._items:
                updates += self._step()
            if updates:
                self._deliver(updates)

    def _receive(self) -> list[WorkUpdate]:
        """Read the inbox; wait for something to do if there is nothing."""
        updates: list[WorkUpdate] = []
        while True:
            try:
                message = self._inbox.get(block=not self._items and not updates)
            except queue.Empty:
                return updates
            if message is None:
                self._stopping = True
                return updates + [self._end(item) for item in list(self._items.values())]
            if isinstance(message, WorkItem):
                self._items[message.sequence] = message
                self.engine.add(message.sequence)
            elif message.item.sequence in self._items:
                updates.append(self._end(message.item))

    def _step(self) -> list[WorkUpdate]:
        began = time.monotonic()
        try:
            picked = self.engine.step()
        except Exception as error:
            self.engine.scheduler.reset()  # it is unknown what the step has done
            failed = list(self._items.values())
            self._items.clear()
            return [WorkUpdate(item, "", (), True, error) for item in failed]
        now = time.monotonic()
        for sequence in self.engine.scheduler.running:
            item = self._items[sequence.root]
            item.admitted = item.admitted or began
        updates = (self._picked(self._items[sequence], began, now) for sequence in picked)
        return [update for update in updates if update is not None]

    def _picked(self, item: WorkItem, began: float, now: float) -> WorkUpdate | None:
        item.admitted = item.admitted or began
        item.first_token = item.first_token or now
        if item.prefill_only:
            return self._end(item)
        if item.only_end and item.sequence.finish_reason is None:
            return None
        return self._update(item, now)

    def _end(self, item: WorkItem) -> WorkUpdate:
        """End an item with the text that it has."""
        sequence = item.sequence
        if sequence.finish_reason is None:
            sequence.finish("length")
        self.engine.abort(sequence)
        return self._update(item, time.monotonic())

    def _update(self, item: WorkItem, now: float) -> WorkUpdate:
        sequence = item.sequence
        done = sequence.finish_reason is not None
        if done:
            item.ended = now
            del self._items[sequence]
        new = tuple(sequence.logprobs[item.num_reported :])
        item.num_reported += len(new)
        return WorkUpdate(item, sequence.new_text(), new, done)
