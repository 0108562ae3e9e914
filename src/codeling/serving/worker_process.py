"""A process that answers queries with its own engine, and its handle in the main process.

One thread at a time runs Python in a process, so more cores need more processes. The two ends
exchange messages over a pipe that nobody else has. The process ends when its end of the pipe is
closed, also because the main process was killed. This module must not know HTTP.
"""

import asyncio
import multiprocessing
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Literal, NamedTuple

from codeling.errors import CodelingError
from codeling.generation.engine import Engine
from codeling.serving.engine_loading import prepared
from codeling.serving.protocol.query import Answer, Choice, Query, RequestError, TextPiece
from codeling.serving.service import Service
from codeling.serving.settings import ServerLimits

_STOP_SECONDS = 2.0


class Asked(NamedTuple):
    """A query for the process."""

    number: int
    query: Query
    client: str


class Cancelled(NamedTuple):
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


class Told(NamedTuple):
    """What the process has to say of a query, in the order of :meth:`Service.stream`."""

    number: int
    event: TextPiece | Choice | Answer | Failure
    """An answer or a failure is the last one. If the query is no stream, there is only that."""


Message = Told | Literal["ready", "ended"]


class WorkerProcess:
    """The handle of a process."""

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
        self.numbers: set[int] = set()
        """The queries in progress."""
        self._deliver = deliver
        spawning = multiprocessing.get_context("spawn")
        self._connection, other = spawning.Pipe()
        self._process = spawning.Process(
            target=answer_queries, args=(load, limits, threshold, other), daemon=True
        )
        try:
            self._process.start()
        except BaseException:
            self._connection.close()
            raise
        finally:
            other.close()
        self._reader = threading.Thread(target=self._receive, name="answers", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Number of the process."""
        assert self._process.pid is not None
        return self._process.pid

    def ask(self, number: int, query: Query, client: str) -> None:
        """Send a query."""
        self.numbers.add(number)
        self._send(Asked(number, query, client))

    def leave(self, number: int) -> None:
        """Stop waiting for a query; what is unfinished is cancelled."""
        if number in self.numbers:
            self.numbers.remove(number)
            self._send(Cancelled(number))

    def stop(self) -> None:
        """End the process. Unfinished queries get no answer."""
        self._send(None)
        self._reader.join(_STOP_SECONDS)
        if self._reader.is_alive():
            self._process.kill()
            self._reader.join()

    @property
    def exit_code(self) -> int | None:
        """Exit code of the process once it has ended; negative for a signal."""
        return self._process.exitcode

    def _send(self, message: Asked | Cancelled | None) -> None:
        with suppress(OSError):  # it has ended, which the reader says
            self._connection.send(message)

    def _receive(self) -> None:
        with suppress(EOFError, OSError):
            while True:
                self._deliver(self, self._connection.recv())
        self._process.join()
        self._connection.close()
        self._deliver(self, "ended")


def answer_queries(
    load: Callable[[], Engine], limits: ServerLimits, threshold: float, connection: Connection
) -> None:
    """Answer the queries from ``connection`` until it is closed, or None comes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process gets it too, and ends this one
    asyncio.run(_answer_queries(Service(prepared(load), limits, threshold), connection))


async def _answer_queries(service: Service, connection: Connection) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    tasks: dict[int, asyncio.Task[None]] = {}

    def take(message: Asked | Cancelled) -> None:
        if isinstance(message, Asked):
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
    connection.send("ready")
    await ended.wait()
    service.stop()


async def _answer(service: Service, asked: Asked, connection: Connection) -> None:
    number, query, client = asked
    with suppress(BrokenPipeError):  # the main process has ended
        try:
            async for event in service.stream(query, client):
                if query.stream or isinstance(event, Answer):
                    connection.send(Told(number, event))
        except CodelingError as error:
            connection.send(Told(number, Failure.of(error)))
        except Exception:
            traceback.print_exc(file=sys.stderr)
            connection.send(Told(number, Failure(500, "a bug in a process of the server")))
