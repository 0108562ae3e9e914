"""A process that answers queries with its own engine, and its handle in the main process.

One thread at a time runs Python in a process, so more cores need more processes. The two ends
exchange messages over a pipe that nobody else has. The process ends when its end of the pipe is
closed, also because the main process was killed. This module must not know HTTP.
"""

import asyncio
import multiprocessing
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Literal, NamedTuple

from codeling.errors import CodelingError
from codeling.generation.engine import Engine
from codeling.serving.engine_loading import prepared, wait_for_project
from codeling.serving.protocol.query import Answer, Choice, Query, RequestError, TextPiece
from codeling.serving.service import Service
from codeling.serving.settings import ServerLimits

HEARTBEAT_SECONDS = 1.0
"""Time between two heartbeats of a process."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Submission(NamedTuple):
    """A query for the process."""

    number: int
    query: Query
    client: str


class Cancellation(NamedTuple):
    """A query whose answer nobody waits for."""

    number: int


class Failure(NamedTuple):
    """Why a query is not answered."""

    status: int
    message: str
    retry_seconds: int | None = None

    @classmethod
    def of(cls, error: CodelingError) -> "Failure":
        """The failure of a query that raised ``error``."""
        if isinstance(error, RequestError):
            return cls(error.status, str(error), error.retry_seconds)
        return cls(400, str(error))


class QueryEvent(NamedTuple):
    """An event of a query, in the order of :meth:`Service.stream`."""

    number: int
    event: TextPiece | Choice | Answer | Failure
    """An answer or a failure is the last one. If the query is no stream, there is only that."""


Message = QueryEvent | Literal["ready", "heartbeat", "ended"]
"""A heartbeat comes every :data:`HEARTBEAT_SECONDS` from a process that is ready."""


class WorkerProcess:
    """The handle of a process. Only :meth:`end`, :meth:`join` and :meth:`kill` may be called from
    any thread."""

    def __init__(
        self,
        load: Callable[[], Engine],
        limits: ServerLimits,
        threshold: float,
        deliver: Callable[["WorkerProcess", Message], None],
    ) -> None:
        """Start a process that calls ``load``. ``deliver`` is called in a thread, for each message
        and at last with ``ended``.

        :raises OSError: no process can be started.
        :raises Exception: ``load`` cannot be pickled.
        """
        self.is_ready = False
        self.num_missed = 0
        """Number of heartbeats that are due since the last message, as the service counts them."""
        self.sizes: dict[int, int] = {}
        """The number of completions of each query in progress."""
        self._deliver = deliver
        self._outbox: queue.SimpleQueue[Submission | Cancellation | None] = queue.SimpleQueue()
        spawning = multiprocessing.get_context("spawn")
        self._connection, other = spawning.Pipe()
        self._process = spawning.Process(
            target=answer_queries, args=(load, limits, threshold, other), daemon=True
        )
        try:
            with _signals_blocked():
                self._process.start()
        except BaseException:
            self._connection.close()
            raise
        finally:
            other.close()
        self._writer = threading.Thread(target=self._write, name="queries", daemon=True)
        self._reader = threading.Thread(target=self._read, name="answers", daemon=True)
        self._writer.start()
        self._reader.start()

    @property
    def pid(self) -> int:
        """Number of the process."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def num_completions(self) -> int:
        """Number of completions that are running or waiting."""
        return sum(self.sizes.values())

    @property
    def exit_code(self) -> int | None:
        """Exit code of the process once it has ended; negative for a signal."""
        return self._process.exitcode

    def submit(self, number: int, query: Query, client: str) -> None:
        """Send a query. Returns at once."""
        self.sizes[number] = query.num_completions
        self._outbox.put(Submission(number, query, client))

    def cancel(self, number: int) -> None:
        """Cancel a query if it is in progress."""
        if self.sizes.pop(number, None) is not None:
            self._outbox.put(Cancellation(number))

    def end(self) -> None:
        """Ask the process to end. Unfinished queries get no answer."""
        self._outbox.put(None)

    def join(self, seconds: float) -> None:
        """Wait until the process has ended; kill it after ``seconds``."""
        self._reader.join(seconds)
        if self._reader.is_alive():
            self.kill()
            self._reader.join()

    def kill(self) -> None:
        """Kill the process."""
        self._process.kill()

    def _write(self) -> None:
        with suppress(OSError):  # it has ended, which the reader says
            while True:
                message = self._outbox.get()
                self._connection.send(message)
                if message is None:
                    return

    def _read(self) -> None:
        with suppress(EOFError, OSError):
            while True:
                self._deliver(self, self._connection.recv())
        self._process.join()
        self._outbox.put(None)
        self._writer.join()
        self._connection.close()
        self._deliver(self, "ended")


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block Ctrl-C and SIGTERM in a process that is started in this context.

    It unblocks them once it ignores them.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # its start would unblock them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def answer_queries(
    load: Callable[[], Engine], limits: ServerLimits, threshold: float, connection: Connection
) -> None:
    """Answer the queries from ``connection`` until it is closed, or None comes."""
    for number in _SIGNALS:  # the main process gets them too, and ends this one
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    try:
        engine = prepared(load)
        wait_for_project(engine)
    except CodelingError as error:
        sys.exit(f"codeling: {error}")
    asyncio.run(_answer_queries(Service(engine, limits, threshold), connection))


async def _answer_queries(service: Service, connection: Connection) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    tasks: dict[int, asyncio.Task[None]] = {}

    def take(message: Submission | Cancellation) -> None:
        if isinstance(message, Submission):
            task = loop.create_task(_answer(service, message, connection))
            tasks[message.number] = task
            task.add_done_callback(lambda _: tasks.pop(message.number))
        elif found := tasks.get(message.number):
            found.cancel()

    def receive() -> None:
        with suppress(EOFError, OSError):
            while (message := connection.recv()) is not None:
                loop.call_soon_threadsafe(take, message)
        loop.call_soon_threadsafe(ended.set)

    service.start()
    threading.Thread(target=receive, name="queries", daemon=True).start()
    with suppress(BrokenPipeError):  # the main process has ended
        connection.send("ready")
        while not ended.is_set():
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(ended.wait(), HEARTBEAT_SECONDS)
            connection.send("heartbeat")
    service.stop()


async def _answer(service: Service, submission: Submission, connection: Connection) -> None:
    number, query, client = submission
    with suppress(BrokenPipeError):  # the main process has ended
        try:
            async for event in service.stream(query, client):
                if query.stream or isinstance(event, Answer):
                    connection.send(QueryEvent(number, event))
        except CodelingError as error:
            connection.send(QueryEvent(number, Failure.of(error)))
        except BrokenPipeError:
            raise
        except Exception:
            traceback.print_exc(file=sys.stderr)
            connection.send(QueryEvent(number, Failure(500, "a bug in a process of the server")))
