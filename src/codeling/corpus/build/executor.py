"""How work is spread over processes and machines: daft plans that run tasks, one a partition.

A task is a line of JSON that a function of :mod:`codeling.corpus.build.tasks` understands; it
reads its partition, leaves its result in the work folder and answers with a line. daft runs the
tasks in worker processes (the parsers hold Python's lock, so threads would not do) or, given an
address, on the machines of a Ray cluster, which all have to see the work folder. Answers come as
tasks end; what is left when a worker or the cluster fails is simply asked again.

daft itself runs in a child process (``python -m codeling.corpus.build.executor``), spoken to in
Arrow IPC streams: it takes over Ctrl-C for the whole process it lives in, ends its stream without
an error then, and may abort an interpreter that exits while a plan is under way. So Ctrl-C
reaches the parent alone, who stops the child; and a child whose parent has died ends by
itself. This module must not know what the tasks do.
"""

import errno
import io
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from multiprocessing import shared_memory
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from codeling.corpus.build import tasks
from codeling.corpus.sources import shards
from codeling.errors import CorpusError, UsageError

_ONE_PROCESS_BYTES = 2_000_000
"""Below this starting worker processes takes longer than the work."""
ENVIRONMENT = {
    "DAFT_ANALYTICS_ENABLED": "0",
    "DAFT_PROGRESS_BAR": "0",
    "_RJEM_MALLOC_CONF": "oversize_threshold:0,dirty_decay_ms:60000",
}
"""What daft's process and its workers are told. The last is for daft's allocator: one row group
after the other is read, each into memory as large as the last one's, and giving that back to the
system in between takes a quarter of the time."""
_PREFIX_VARIABLE = "CODELING_SHARED_MEMORY_PREFIX"

if _PREFIX_VARIABLE in os.environ:
    # daft hands results over in blocks of shared memory, and a killed worker leaves its last
    # one behind. Named after this child they can be told from anybody else's, and removed.
    vars(shared_memory)["_SHM_NAME_PREFIX"] = os.environ[_PREFIX_VARIABLE]


class Executor:
    """The child process that daft runs in; a context, which ends with the child gone."""

    def __init__(self, ray: str | None = None) -> None:
        """``ray`` is the address of a cluster, as ``ray://host:10001`` or ``host:6379``.

        :raises UsageError: it is given and Ray is not installed.
        """
        if ray is not None and find_spec("ray") is None:
            raise UsageError("--ray: Ray is not installed; install codeling[ray]")
        self.ray = ray
        self._stack = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Executor":
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def restart(self) -> None:
        """Have the next question answered by a new child."""
        self._stack.close()
        self._process = None

    def _start(self) -> "subprocess.Popen[bytes]":
        self._prefix = f"/cdl{secrets.token_hex(2)}_"  # names have 14 characters
        environment = {
            **os.environ,
            **ENVIRONMENT,
            _PREFIX_VARIABLE: self._prefix,
        }
        self._errors = self._stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        process = subprocess.Popen(
            [sys.executable, "-m", "codeling.corpus.build.executor"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            start_new_session=True,
        )
        self._stack.callback(self._stop, process)
        return process

    def map(
        self, name: str, tasks: Sequence[str], settings: str = "", num_bytes: int = 0
    ) -> Iterator[str]:
        """Have each of ``tasks`` done; their answers in the order of the tasks.

        ``name`` is one of ``WORK``; ``settings`` are handed to every task. ``num_bytes``
        is what there is to read in all; from it follows whether worker processes are started.

        :raises CorpusError: the child ended before its work did.
        :raises OSError: it ended because the disk is full.
        """
        if not tasks:
            return
        process = self._process = self._process or self._start()
        assert process.stdin is not None, "the child is started with pipes"
        assert process.stdout is not None, "the child is started with pipes"
        metadata = {
            "work": name, "settings": settings, "num_bytes": str(num_bytes), "ray": self.ray or ""
        }  # fmt: skip
        column = pa.array(tasks, pa.large_string())
        question = pa.table({"task": column}).replace_schema_metadata(metadata)
        num_rows = 0
        try:
            with pa.ipc.new_stream(process.stdin, question.schema) as writer:
                writer.write_table(question)
            process.stdin.flush()
            with pa.ipc.open_stream(process.stdout) as answer:
                for batch in answer:
                    num_rows += batch.num_rows
                    yield from batch.column("answer").to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise self._obituary(process) from error
        if num_rows != len(tasks):
            raise self._obituary(process)

    def _obituary(self, process: "subprocess.Popen[bytes]") -> Exception:
        with suppress(subprocess.TimeoutExpired):
            process.wait(2.0)
        self._errors.seek(0)
        said = self._errors.read().decode("utf-8", "replace").strip()
        last = said.rpartition("\n")[2]
        if "No space left on device" in said:
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        reason = f" ({last[:200]})" if last else f" (exit status {process.returncode})"
        return CorpusError(f"the corpus executor stopped early{reason}; run the same command again")

    def _stop(self, process: "subprocess.Popen[bytes]") -> None:
        """End the child and its workers, whatever they are at; at rest they end at once."""
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for path in Path("/dev/shm").glob(self._prefix.strip("/") + "*"):  # noqa: S108
            path.unlink(missing_ok=True)


def main() -> None:
    """The child: answer one question after the other until the parent hangs up or is gone.

    It ends by ``os._exit`` or a signal alone: closing a daft stream early waits for ever, and
    a tidy end of the interpreter may abort on daft's threads. So whatever goes wrong is
    handled here, with the stream still referred to by the exception.
    """
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()
    questions = io.BufferedReader(io.FileIO(0, closefd=False))
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        while questions.peek(1):
            with pa.ipc.open_stream(questions) as reader:
                question = reader.read_all()
            _answer(question, output)
    except BrokenPipeError:
        _vanish(os.getpid())
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def _watch(parent: int) -> None:
    """End with the workers once the parent is no more."""
    while os.getppid() == parent:
        time.sleep(0.5)
    _vanish(os.getpid())


def _vanish(child: int) -> None:
    """Kill the child with its workers, and remove what they shared and nobody fetched."""
    _remove_shared_memory()
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)


def _remove_shared_memory() -> None:
    prefix = os.environ.get(_PREFIX_VARIABLE, "").strip("/")
    for path in Path("/dev/shm").glob(prefix + "*") if prefix else ():  # noqa: S108
        path.unlink(missing_ok=True)


def _answer(question: pa.Table, output: IO[bytes]) -> None:
    keys = (b"work", b"settings", b"num_bytes", b"ray")
    name, settings, num_bytes, ray = (question.schema.metadata[key].decode() for key in keys)
    import daft

    frame = daft.from_arrow(question.replace_schema_metadata(None))
    if ray:
        daft.set_runner_ray(ray, noop_if_initialized=True)
        frame = frame.into_partitions(question.num_rows)
    run = daft.func.batch(
        return_dtype=daft.DataType.string(),
        use_process=int(num_bytes) > _ONE_PROCESS_BYTES,
        batch_size=1,
    )(_run)
    plan = frame.select(run(frame["task"], name, settings).alias("answer"))
    schema = pa.schema([("answer", pa.large_string())])
    writer = pa.ipc.new_stream(output, schema)
    stream = plan.to_arrow_iter()  # a name of its own: see main
    for batch in stream:
        answers = batch.column("answer").cast(pa.large_string())
        writer.write_batch(pa.RecordBatch.from_arrays([answers], schema=schema))
        output.flush()
    writer.close()
    output.flush()


WORK: dict[str, Callable[[str, str], str]] = {
    "survey": tasks.survey,
    "extraction": tasks.extraction,
    "look": shards.look,
    "list": shards.find,
}
"""What may be asked: (task, settings) → answer, each a text."""


def _run(tasks: Any, name: str, settings: str) -> pa.Array:
    function = WORK[name]
    return pa.array([function(task, settings) for task in tasks.to_pylist()], pa.large_string())


if __name__ == "__main__":
    # Under its real name: daft's workers have to find the functions by it.
    from codeling.corpus.build import executor

    executor.main()
