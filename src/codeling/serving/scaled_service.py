"""A service that answers in several processes once several queries are in progress.

A person stays with one process, which has the file in its cache, unless it is much busier than
another. Until the processes are ready, and if they cannot be started, the main process answers. If
a process ends, another is started, and its queries are answered again, except streams that have
begun.
"""

import asyncio
import itertools
import sys
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress

from codeling.generation.engine import Engine
from codeling.serving.protocol.query import Answer, Choice, RequestError, TextPiece
from codeling.serving.service import RETRY_SECONDS, Flight, Service
from codeling.serving.settings import ServerLimits
from codeling.serving.worker_process import (
    HEARTBEAT_SECONDS,
    Failure,
    Message,
    QueryEvent,
    WorkerProcess,
)

START_AT = 4
"""Number of queries in progress at which the processes are started."""
_BUSIER = 8
"""Difference in the number of completions from which on a person moves to another process."""
_MAX_HOMES = 4096
"""People and files whose process is remembered."""
_MAX_ATTEMPTS = 2
"""Number of processes that may end under a query before it is given up."""
_MAX_FAILED = 5
"""Number of processes in a row that may end before they are ready, before no more are started."""
_MAX_MISSED, _MAX_STARTING = 10, 120
"""Missed heartbeats after which a process is killed, when it is ready and before. A process misses
some while it encodes a long text."""
_STOP_SECONDS = 2.0
"""Time that the processes get to end."""

_Event = TextPiece | Choice | Answer | Failure


class ScaledService(Service):
    """Answers queries in this process, then in ``num_processes`` others."""

    def __init__(
        self,
        engine: Engine,
        limits: ServerLimits,
        threshold: float,
        load: Callable[[], Engine],
        num_processes: int,
    ) -> None:
        """``load`` gives the same engine in another process, so it can be pickled."""
        super().__init__(engine, limits, threshold)
        self.processes: list[WorkerProcess] = []
        """Those that are ready, or being started."""
        self._load = load
        self._num_processes = num_processes
        self._is_scaled = False
        self._is_stopped = False
        self._num_failed = 0
        self._lock = threading.Lock()
        """For starting and stopping."""
        self._homes: OrderedDict[str, WorkerProcess] = OrderedDict()
        self._numbers = itertools.count()
        self._queues: dict[int, asyncio.Queue[_Event | None]] = {}
        """Events of each forwarded query; None when its process has ended."""

    @property
    def num_waiting(self) -> int:
        """Number of completions that are not in a batch yet."""
        most = self.limits.max_running
        waiting = (max(0, process.num_completions - most) for process in self.processes)
        return super().num_waiting + sum(waiting)

    def stop(self) -> None:
        """End the processes and the engine's thread."""
        self.stop_processes()
        super().stop()

    def stop_processes(self) -> None:
        """End the processes. Their queries get an error."""
        with self._lock:
            self._is_stopped = True
            processes = [*self.processes]
        for process in processes:
            process.end()
        end = time.monotonic() + _STOP_SECONDS
        for process in processes:
            process.join(max(0.0, end - time.monotonic()))

    async def _events(
        self, flight: Flight, first_sample: int
    ) -> AsyncGenerator[TextPiece | Choice | Answer, None]:
        """See :meth:`stream`. ``first_sample`` is for this process; others count too."""
        if not self._is_scaled and self._num_processes and len(self.flights) >= START_AT:
            self._is_scaled = True
            self._start_another()
            self._watch()
        for attempt in range(_MAX_ATTEMPTS):
            process = self._home(flight)
            if attempt and flight.is_cancelled:
                process = None  # in another process it would end the query that superseded it
            if process is None:
                events = super()._events(flight, first_sample)
            else:
                events = self._forwarded(flight, process)
            num_events = 0
            async with aclosing(events):
                async for event in events:
                    yield event
                    num_events += 1
                    if isinstance(event, Answer):
                        return
            if num_events or self._is_stopped or time.monotonic() > flight.deadline:
                break
        raise RequestError(503, "the process that answered this request ended", RETRY_SECONDS)

    async def _forwarded(
        self, flight: Flight, process: WorkerProcess
    ) -> AsyncGenerator[TextPiece | Choice | Answer, None]:
        """The events of a query in another process; they end early if the process ends."""
        number, events = next(self._numbers), asyncio.Queue[_Event | None]()
        self._queues[number] = events
        try:
            process.submit(number, flight.query, flight.client)
            while (event := await events.get()) is not None:
                if isinstance(event, Failure):
                    if event.status == 500:
                        raise RuntimeError(f"{event.message}; its traceback is above")
                    raise RequestError(*event)
                yield event
        finally:
            del self._queues[number]
            process.cancel(number)

    def _home(self, flight: Flight) -> WorkerProcess | None:
        """The process for a query; None if no process is ready."""
        ready = [process for process in self.processes if process.is_ready]
        if not ready:
            return None
        affinity = flight.affinity
        home = self._homes.pop(affinity, None)
        if home is None:
            people = Counter(self._homes.values())
            home = min(ready, key=lambda process: (process.num_completions, people[process]))
        elif not self._must_stay(flight):
            least = min(ready, key=lambda process: process.num_completions)
            if home.num_completions >= least.num_completions + _BUSIER:
                home = least
        self._homes[affinity] = home
        if len(self._homes) > _MAX_HOMES:
            self._homes.popitem(last=False)
        return home

    def _keep_homes(self, is_kept: Callable[[str, WorkerProcess], bool]) -> None:
        self._homes = OrderedDict(item for item in self._homes.items() if is_kept(*item))

    def _must_stay(self, flight: Flight) -> bool:
        """Whether a query in progress has to be in the same process: an equal one, which is counted
        there, or one of the same session, which this one ends."""
        others = (other for other in self.flights if other is not flight)
        return any(flight.is_equal(other) or flight.shares_session(other) for other in others)

    def _start_another(self) -> None:
        """Start a process in a thread, if there are too few; the next one when it is ready.

        If all started at once, the main process would have no core left meanwhile.
        """
        threading.Thread(target=self._start, daemon=True).start()

    def _start(self) -> None:
        threshold = self.suggester.settings.threshold
        try:
            with self._lock:
                all_ready = all(process.is_ready for process in self.processes)
                is_wanted = len(self.processes) < self._num_processes and not self._is_stopped
                if all_ready and is_wanted:
                    process = WorkerProcess(self._load, self.limits, threshold, self._on_message)
                    self.processes.append(process)
        except Exception as error:
            _log(f"no more processes can be started ({error})")

    def _watch(self) -> None:
        """Kill the processes without a heartbeat; called every :data:`HEARTBEAT_SECONDS`.

        Calls are counted instead of time, so that no process is killed after the main process was
        suspended.
        """
        if self._is_stopped:
            return
        for process in self.processes:
            process.num_missed += 1
            if process.num_missed > (_MAX_MISSED if process.is_ready else _MAX_STARTING):
                process.kill()
        assert self._loop is not None
        self._loop.call_later(HEARTBEAT_SECONDS, self._watch)

    def _on_message(self, process: WorkerProcess, message: Message) -> None:
        """Called in the thread of a process."""
        assert self._loop is not None
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._handle, process, message)

    def _handle(self, process: WorkerProcess, message: Message) -> None:
        process.num_missed = 0
        if isinstance(message, QueryEvent):
            if isinstance(message.event, Answer | Failure):
                process.sizes.pop(message.number, None)
            if events := self._queues.get(message.number):
                events.put_nowait(message.event)
        elif message == "ready":
            process.is_ready = True
            busy = {flight.affinity for flight in self.flights}
            self._keep_homes(lambda name, _: name in busy)  # all others are shared anew
            self._start_another()
        elif message == "ended":
            self._replace(process)

    def _replace(self, process: WorkerProcess) -> None:
        """Start another process for one that has ended."""
        with self._lock:
            self.processes.remove(process)
        self._keep_homes(lambda _, home: home is not process)
        numbers, process.sizes = sorted(process.sizes), {}
        for number in numbers:
            if events := self._queues.get(number):
                events.put_nowait(None)
        if self._is_stopped:
            return
        assert self._loop is not None
        self._num_failed = 0 if process.is_ready else self._num_failed + 1
        if self._num_failed < _MAX_FAILED:
            seconds = 2**self._num_failed - 1
            _log(
                f"a worker process ended (exit code {process.exit_code}); another one is "
                f"started in {seconds} s"
            )
            self._loop.call_later(seconds, self._start_another)
        else:
            _log(f"{_MAX_FAILED} processes in a row ended at once; no more are started")


def _log(line: str) -> None:
    sys.stderr.write(f"codeling: {line}\n")
