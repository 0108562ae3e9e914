"""Runs tasks over processes and machines: one child process, daft and its workers behind it.

A task is a line of JSON for a function of :data:`codeling.corpus.build.child.TASKS`; it reads its
partition, leaves its result in the work folder and answers with a line. Given an address, daft
runs the tasks on a Ray cluster, whose machines all see the work folder. This module must not know
what the tasks do.
"""

import errno
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa

from codeling.corpus.build import heartbeat
from codeling.corpus.build.child import PREFIX_VARIABLE, remove_shared_memory
from codeling.corpus.build.heartbeat import STALL_SECONDS, Watchdog
from codeling.errors import CorpusError, UsageError
from codeling.quantity import quantity

ENVIRONMENT = {
    "DAFT_ANALYTICS_ENABLED": "0",
    "DAFT_PROGRESS_BAR": "0",
    "MIMALLOC_PURGE_DELAY": "1000",
}
"""Environment of the child and its workers. The last is for pyarrow's allocator, in milliseconds:
returning each batch's memory at once takes a seventh of the time to read Parquet."""


class Executor:
    """Starts the child process at the first call and reuses it.

    A context manager: no process is left when it ends.
    """

    def __init__(self, ray: str | None = None, stall_seconds: float = STALL_SECONDS) -> None:
        """``ray`` is the address of a cluster, as ``ray://host:10001`` or ``host:6379``.

        :raises UsageError: an address is given and Ray is not installed.
        """
        if ray is not None and find_spec("ray") is None:
            raise UsageError("--ray: Ray is not installed; install codeling[ray]")
        self.ray = ray
        self._stall_seconds = stall_seconds
        self._stack = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Executor":
        return self

    def __exit__(self, *exception: object) -> None:
        self.restart()

    def restart(self) -> None:
        """Stop the child; the next call starts a new one."""
        self._stack.close()
        self._process = None

    def _start(self) -> "subprocess.Popen[bytes]":
        self._prefix = f"/cdl{secrets.token_hex(2)}_"  # names of shared memory have 14 characters
        self._errors = self._stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        process = self._open({**os.environ, **ENVIRONMENT, PREFIX_VARIABLE: self._prefix})
        self._stack.callback(self._stop, process)
        return process

    def _open(self, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-m", "codeling.corpus.build.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            start_new_session=True,
        )

    def map(
        self,
        name: str,
        tasks: Sequence[str],
        settings: str = "",
        num_bytes: int = 0,
        heartbeats: Path | None = None,
    ) -> Iterator[str]:
        """Run ``tasks`` and yield their answers in order, each once it and all before it are done.

        ``name`` is a key of :data:`codeling.corpus.build.child.TASKS`; every task gets
        ``settings``. ``num_bytes`` is the total to read; worker processes are started for more
        than a small one. ``heartbeats`` is a folder that all workers see; on one machine it may be
        left out.

        :raises CorpusError: the child ended before its work did, or made no progress.
        :raises OSError: it ended because the disk is full.
        """
        if not tasks:
            return
        process = self._process = self._process or self._start()
        assert process.stdin is not None, "the child is started with pipes"
        assert process.stdout is not None, "the child is started with pipes"
        folder = heartbeats or self._folder
        folder.mkdir(exist_ok=True)
        heartbeat.clear(folder)
        values = {
            "name": name, "settings": settings, "num_bytes": num_bytes, "ray": self.ray or "",
            "heartbeats": str(folder),
        }  # fmt: skip
        request = pa.table({"task": pa.array(tasks, pa.large_string())})
        request = request.replace_schema_metadata({"request": json.dumps(values)})
        num_answers = 0
        with Watchdog(folder, self._stall_seconds, lambda: _kill(process)) as watchdog:
            try:
                with watchdog.waiting():
                    with pa.ipc.new_stream(process.stdin, request.schema) as writer:
                        writer.write_table(request)
                    process.stdin.flush()
                    reader = pa.ipc.open_stream(process.stdout)
                while True:
                    with watchdog.waiting():
                        batch = next(reader, None)
                    if batch is None:
                        break
                    num_answers += batch.num_rows
                    yield from batch.column("answer").to_pylist()
            except (pa.ArrowException, OSError) as error:
                raise self._failure(process, watchdog, name, num_answers, len(tasks)) from error
            if num_answers != len(tasks):
                raise self._failure(process, watchdog, name, num_answers, len(tasks))

    def _failure(
        self,
        process: "subprocess.Popen[bytes]",
        watchdog: Watchdog,
        name: str,
        num_done: int,
        num_tasks: int,
    ) -> Exception:
        """The error for a child that ended early."""
        if watchdog.positions is not None:
            where = ", ".join(sorted(watchdog.positions)[:5]) or "no task had started"
            return CorpusError(
                "the corpus executor made no progress for "
                f"{quantity(self._stall_seconds, 'second')}: {name}, {num_done:,} of "
                f"{quantity(num_tasks, 'part')} done, at {where}; run the same command again to "
                "continue from the finished parts"
            )
        with suppress(subprocess.TimeoutExpired):
            process.wait(2.0)
        self._errors.seek(0)
        output = self._errors.read().decode("utf-8", "replace").strip()
        last = output.rpartition("\n")[2]
        if "No space left on device" in output:
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        reason = f" ({last[:200]})" if last else f" (exit status {process.returncode})"
        return CorpusError(f"the corpus executor stopped early{reason}; run the same command again")

    def _stop(self, process: "subprocess.Popen[bytes]") -> None:
        """End the child and its workers, whatever they are doing."""
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()
        _kill(process)
        process.wait()
        remove_shared_memory(self._prefix)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    if not hasattr(os, "killpg"):  # Windows; the workers end with their parent
        process.kill()
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
