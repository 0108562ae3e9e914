"""Judges many jobs, in order, on a few sandboxes that are kept running."""

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType

from codeling.cores import usable_cores
from codeling.errors import SandboxError
from codeling.evaluation.sandbox.jobs import Job, Limits, Verdict
from codeling.evaluation.sandbox.worker import Worker


class Sandbox:
    """A few sandboxes, started on entering and ended on leaving.

    ``packages`` and their requirements can be imported by programs and checks, read-only.
    ``workers`` jobs are judged in parallel; the default is one for each core.

    No program is ever run outside a sandbox, and no setting changes that.

    :raises SandboxError: on entering, this machine cannot run a sandbox; says what to install.

    Example::

        with Sandbox() as sandbox:
            job = Job("mean", "def mean(xs): return sum(xs) / len(xs)", "assert mean([2, 4]) == 3")
            for verdict in sandbox.judge([job]):
                print(verdict.outcome)
    """

    def __init__(
        self, packages: Sequence[str] = (), workers: int | None = None, limits: Limits | None = None
    ) -> None:
        self._packages = tuple(packages)
        self.workers = workers or usable_cores()
        self.limits = limits or Limits()
        self._idle: SimpleQueue[Worker] = SimpleQueue()
        self._started: list[Worker] = []
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._closed = False

    def __enter__(self) -> "Sandbox":
        # A sandbox ends with the thread that started it, so the pool's threads start them.
        self._closed = False
        self._idle, self._started = SimpleQueue(), []
        self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="sandbox")
        try:
            starting = [self._threads.submit(self._start) for _ in range(self.workers)]
            for future in starting:
                self._idle.put(future.result())
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every sandbox and every process in them."""
        if self._threads is None:
            return
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            self._closed = True
            for worker in self._started:
                worker.close()
        self._threads.shutdown()
        self._threads = None

    @property
    def running(self) -> list[Worker]:
        """The sandboxes that are running."""
        with self._lock:
            return [worker for worker in self._started if worker.alive]

    def judge(self, jobs: Iterable[Job]) -> Iterator[Verdict]:
        """The verdict of each job, in the order of the jobs.

        Jobs are read ahead by a few for each worker.

        :raises SandboxError: a sandbox has ended and cannot be started again.
        """
        if self._threads is None:
            raise RuntimeError("a Sandbox judges between entering and leaving")
        waiting: deque[Future[Verdict]] = deque()
        try:
            for job in jobs:
                waiting.append(self._threads.submit(self._judge, job))
                if len(waiting) >= 4 * self.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def _start(self) -> Worker:
        worker = Worker(self._packages, self.limits)
        with self._lock:
            self._started = [other for other in self._started if other.alive] + [worker]
            closed = self._closed
        if closed:
            worker.close()
            raise SandboxError("the sandbox was closed while it was judging")
        return worker

    def _judge(self, job: Job) -> Verdict:
        worker = self._idle.get()
        try:
            if not worker.alive:
                worker = self._start()
            return worker.judge(job)
        finally:
            self._idle.put(worker)
