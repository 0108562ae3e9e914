"""A service that answers in several processes once several people type.

A person stays with one process, which has the file in its cache, unless it is much busier than
another. Until the processes are ready, and if they cannot be started, the main process answers. A
process that ends is started again, and its queries are answered by another.
"""

import asyncio
import itertools
import signal
import sys
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable

from codeling.generation.engine import Engine
from codeling.serving.protocol.query import Answer, Choice, RequestError, TextPiece
from codeling.serving.service import RETRY_SECONDS, Flight, Service
from codeling.serving.settings import ServerLimits
from codeling.serving.worker_process import Failure, Message, Told, WorkerProcess

SEVERAL = 4
"""Number of queries in progress at which processes are started."""
_BUSIER = 8
"""Difference in the number of queries from which on a person moves to another process."""
_MAX_HOMES = 4096
"""People and files whose process is remembered."""
_MAX_LOST = 2
"""Number of processes that may end under a query before it is given up."""

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
        self._lock = threading.Lock()
        """For starting and stopping."""
        self._homes: OrderedDict[str, WorkerProcess] = OrderedDict()
        self._numbers = itertools.count()
        self._told: dict[int, asyncio.Queue[_Event | None]] = {}

    @property
    def num_waiting(self) -> int:
        """Number of completions that are not in a batch yet."""
        most = self.limits.max_running
        waiting = sum(max(0, len(process.numbers) - most) for process in self.processes)
        return super().num_waiting + waiting

    def stop(self) -> None:
        """End the processes. Queries in progress end with what they have, or with an error."""
        with self._lock:
            self._is_stopped = True
            for process in self.processes:
                process.stop()
        super().stop()

    async def _events(
        self, flight: Flight, first_sample: int
    ) -> AsyncIterator[TextPiece | Choice | Answer]:
        if not self._is_scaled and self._num_processes and len(self.flights) >= SEVERAL:
            self._is_scaled = True
            threading.Thread(target=self._start, args=(self._num_processes,), daemon=True).start()
        for _ in range(_MAX_LOST):
            process = self._home(flight)
            if process is None:
                async for event in super()._events(flight, first_sample):
                    yield event
                return
            num_sent = 0
            async for event in self._forwarded(flight, process):
                yield event
                num_sent += 1
                if isinstance(event, Answer):
                    return
            if num_sent:
                break
        raise RequestError(503, "the process that answered this request ended", RETRY_SECONDS)

    async def _forwarded(
        self, flight: Flight, process: WorkerProcess
    ) -> AsyncIterator[TextPiece | Choice | Answer]:
        """The events of a query in another process; they end early if the process ends."""
        number, told = next(self._numbers), asyncio.Queue[_Event | None]()
        self._told[number] = told
        process.ask(number, flight.query, flight.client)
        try:
            while (event := await told.get()) is not None:
                if isinstance(event, Failure):
                    if event.status == 500:
                        raise RuntimeError(f"{event.message}; its traceback is above")
                    raise RequestError(*event)
                yield event
        finally:
            del self._told[number]
            process.leave(number)

    def _home(self, flight: Flight) -> WorkerProcess | None:
        """The process for a query; None if no process is ready."""
        ready = [process for process in self.processes if process.is_ready]
        if not ready:
            return None
        affinity = flight.affinity
        least = min(ready, key=lambda process: len(process.numbers))
        home = self._homes.pop(affinity, least)
        is_much_busier = len(home.numbers) >= len(least.numbers) + _BUSIER
        if home not in ready or (is_much_busier and not self._is_answering(flight)):
            home = least
        self._homes[affinity] = home
        if len(self._homes) > _MAX_HOMES:
            self._homes.popitem(last=False)
        return home

    def _is_answering(self, flight: Flight) -> bool:
        """Whether another query of the same person is in progress, which this one may end."""
        others = (other for other in self.flights if other is not flight)
        return any(other.affinity == flight.affinity for other in others)

    def _start(self, number: int) -> None:
        """Start processes; called in a thread."""
        try:
            for _ in range(number):
                with self._lock:
                    if not self._is_stopped:
                        self.processes.append(
                            WorkerProcess(
                                self._load,
                                self.limits,
                                self.suggester.settings.threshold,
                                self._note,
                            )
                        )
        except Exception as error:
            _say(f"no more processes can be started ({error}); this one goes on alone")

    def _note(self, process: WorkerProcess, message: Message) -> None:
        """Called in the thread of a process."""
        assert self._loop is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._take, process, message)

    def _take(self, process: WorkerProcess, message: Message) -> None:
        if isinstance(message, Told):
            if isinstance(message.event, Answer | Failure):
                process.numbers.discard(message.number)
            if told := self._told.get(message.number):
                told.put_nowait(message.event)
        elif message == "ready":
            process.is_ready = True
        elif not self._is_stopped:
            self._replace(process)

    def _replace(self, process: WorkerProcess) -> None:
        """Start another process for one that has ended."""
        self.processes.remove(process)
        for number in process.numbers:
            if told := self._told.get(number):
                told.put_nowait(None)
        process.numbers.clear()
        if process.exit_code == -signal.SIGTERM:
            return  # as when a service manager stops all processes of the server
        if process.is_ready:
            _say(f"a process ended (exit code {process.exit_code}) and is started again")
            threading.Thread(target=self._start, args=(1,), daemon=True).start()
        else:
            _say(f"a process could not be started (exit code {process.exit_code})")


def _say(line: str) -> None:
    sys.stderr.write(f"codeling: {line}\n")
