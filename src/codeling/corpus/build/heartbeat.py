"""Signs of life of running tasks, and the watchdog that ends a stage without any.

A task writes its position to a small file at most every few seconds; the watchdog compares the
contents of these files, so clocks of several machines do not matter. This module must not know
what the tasks do.
"""

import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

Heartbeat = Callable[[str], None]
"""Called by a task with its position, as often as it likes."""
_SUFFIX = ".heartbeat"
_WRITE_SECONDS = 5.0
STALL_SECONDS = 900.0
"""A stage without an answer or a heartbeat for this long has stalled. The slowest step between
two heartbeats is one document or one batch of rows: seconds, or minutes over a slow network."""


@contextmanager
def heartbeat(folder: Path) -> Iterator[Heartbeat]:
    """Give a task its heartbeat; its file in ``folder`` is removed when the task ends.

    A heartbeat that cannot be written is skipped: the task's own results report a full disk.
    """
    path = folder / f"{uuid.uuid4().hex}{_SUFFIX}"
    count, written = 0, 0.0

    def beat(position: str) -> None:
        nonlocal count, written
        count += 1
        now = time.monotonic()
        if count == 1 or now - written >= _WRITE_SECONDS:
            written = now
            text = f"{count}\n{position}".encode("utf-8", "backslashreplace")
            with suppress(OSError):
                path.write_bytes(text)

    try:
        yield beat
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def read_heartbeats(folder: Path) -> dict[str, str]:
    """Return each running task's file name and its contents: a counter and a position."""
    found = {}
    with suppress(OSError):
        for name in sorted(os.listdir(folder)):  # noqa: PTH208
            if name.endswith(_SUFFIX):
                with suppress(OSError):
                    found[name] = (folder / name).read_text("utf-8", errors="replace")
    return found


def clear(folder: Path) -> None:
    """Remove the files that killed tasks left in ``folder``."""
    with suppress(OSError):
        for path in folder.glob(f"*{_SUFFIX}"):
            path.unlink(missing_ok=True)


class Watchdog:
    """Calls ``stop`` once nothing has happened for ``stall_seconds`` while it is awake.

    A context manager; it watches only inside of :meth:`waiting`, so the time that the caller takes
    between two answers does not count, nor does the time that the process was suspended.
    """

    def __init__(self, folder: Path, stall_seconds: float, stop: Callable[[], None]) -> None:
        self._folder, self._stall_seconds, self._stop = folder, stall_seconds, stop
        self._num_answers = 0
        self._is_waiting = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.positions: list[str] | None = None
        """Positions of the running tasks when the stage stalled; None if it did not."""

    def __enter__(self) -> "Watchdog":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Watch while the body waits for an answer."""
        self._num_answers += 1
        self._is_waiting = True
        try:
            yield
        finally:
            self._is_waiting = False

    def _watch(self) -> None:
        interval = min(_WRITE_SECONDS, self._stall_seconds / 10)
        idle_seconds, before, seen = 0.0, time.monotonic(), None
        while not self._ended.wait(interval):
            now = time.monotonic()
            elapsed, before = min(now - before, 2 * interval), now
            current = (self._num_answers, read_heartbeats(self._folder))
            if current != seen or not self._is_waiting:
                idle_seconds, seen = 0.0, current
                continue
            idle_seconds += elapsed
            if idle_seconds >= self._stall_seconds:
                beats = current[1].values()
                self.positions = [beat.partition("\n")[2] for beat in beats]
                self._stop()
                return
