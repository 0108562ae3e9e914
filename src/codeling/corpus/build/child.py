"""The process that the executor starts: runs tasks itself or through daft (``python -m``).

daft has a process of its own because it takes over Ctrl-C for its whole process, then ends its
stream without an error, and may abort an interpreter that exits during a plan. Ctrl-C reaches the
parent alone, which stops this process; without its parent this process ends.

A task that calls daft from one of daft's threads blocks forever once all threads do so. So small
inputs and listings run here without daft, and a daft plan runs its tasks in worker processes. This
module must not know what the tasks do.
"""

import io
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from importlib.abc import MetaPathFinder
from multiprocessing import shared_memory
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from codeling.corpus.build.extraction import extraction
from codeling.corpus.build.heartbeat import Heartbeat, heartbeat
from codeling.corpus.build.survey import survey
from codeling.corpus.sources import pieces, shards

PREFIX_VARIABLE = "CODELING_SHARED_MEMORY_PREFIX"
"""Environment variable with the name prefix of this child's shared memory."""
_IN_PROCESS_BYTES = 2_000_000
"""Below this, starting worker processes takes longer than the work."""
_LISTING_THREADS = 8
"""Listing waits for disks and networks, not for processors."""
_ANSWER_SCHEMA = pa.schema([("answer", pa.large_string())])

Task = Callable[[str, str, Heartbeat], str]
"""(task, settings, heartbeat) → answer."""
LISTINGS: dict[str, Task] = {"list": shards.list_remote, "split": pieces.split}
"""Tasks that read very little and use daft only for URLs."""
TASKS: dict[str, Task] = {"survey": survey, "extraction": extraction, **LISTINGS}


def name_shared_memory() -> None:
    """Give the blocks of shared memory of this process the prefix of the environment.

    daft passes results in such blocks, and a killed worker leaves its last one behind. The prefix
    distinguishes them from other programs' blocks, so they can be removed.
    """
    if PREFIX_VARIABLE in os.environ:
        vars(shared_memory)["_SHM_NAME_PREFIX"] = os.environ[PREFIX_VARIABLE]


name_shared_memory()  # daft's workers import this module


def main() -> None:
    """Answer requests until the parent closes the pipe or is gone.

    Ends only by ``os._exit`` or a signal: closing a daft stream early blocks forever, and a normal
    exit of the interpreter may abort in daft's threads. Every error is therefore handled here,
    while the exception still refers to the stream.
    """
    _hide_pandas()
    threading.Thread(target=_watch_parent, args=(os.getppid(),), daemon=True).start()
    requests = io.BufferedReader(io.FileIO(0, closefd=False))
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        while requests.peek(1):
            with pa.ipc.open_stream(requests) as reader:
                request = reader.read_all()
            _respond(request, output)
    except BrokenPipeError:
        _kill_group()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


class _PandasHider(MetaPathFinder):
    """Import finder that reports pandas as not installed."""

    def find_spec(self, name: str, *_: Any) -> None:
        """:raises ModuleNotFoundError: the module is pandas."""
        if name == "pandas":
            raise ModuleNotFoundError(name)


@cache
def _hide_pandas() -> None:
    """Keep pyarrow from importing pandas, which takes 0.4 s at its first conversion of a list."""
    finder = _PandasHider()
    sys.meta_path.insert(0, finder)
    try:
        pa.array([])
    finally:
        sys.meta_path.remove(finder)


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    _kill_group()


def _kill_group() -> None:
    """Kill this process and its workers; remove the shared memory that was not fetched."""
    remove_shared_memory(os.environ.get(PREFIX_VARIABLE, ""))
    if not hasattr(os, "killpg"):  # Windows; the workers end with their parent
        os._exit(1)
    with suppress(ProcessLookupError):
        os.killpg(os.getpid(), signal.SIGKILL)


def remove_shared_memory(prefix: str) -> None:
    """Remove the blocks of shared memory whose names begin with ``prefix``."""
    prefix = prefix.strip("/")
    for path in Path("/dev/shm").glob(prefix + "*") if prefix else ():  # noqa: S108
        path.unlink(missing_ok=True)


def _respond(request: pa.Table, output: IO[bytes]) -> None:
    values = json.loads(request.schema.metadata[b"request"])
    name, settings, ray = values["name"], values["settings"], values["ray"]
    folder = values["heartbeats"]
    if name in LISTINGS:
        payloads = request.column("task").to_pylist()
        with ThreadPoolExecutor(_LISTING_THREADS) as pool:
            answers = pool.map(lambda payload: run_task(name, payload, settings, folder), payloads)
            _write(answers, output)
    elif ray or values["num_bytes"] > _IN_PROCESS_BYTES:
        _write(_run_plan(request, name, settings, folder, ray), output)
    else:
        payloads = request.column("task").to_pylist()
        _write((run_task(name, payload, settings, folder) for payload in payloads), output)


def _write(answers: Iterator[str], output: IO[bytes]) -> None:
    with pa.ipc.new_stream(output, _ANSWER_SCHEMA) as writer:
        for answer in answers:
            writer.write_batch(pa.record_batch([pa.array([answer], pa.large_string())], ["answer"]))
            output.flush()
    output.flush()


def _run_plan(request: pa.Table, name: str, settings: str, folder: str, ray: str) -> Iterator[str]:
    """Run the tasks in daft's worker processes, here or on a Ray cluster."""
    import daft

    frame = daft.from_arrow(request.replace_schema_metadata(None))
    if ray:
        daft.set_runner_ray(ray, noop_if_initialized=True)
        frame = frame.into_partitions(request.num_rows)
    run = daft.func.batch(return_dtype=daft.DataType.string(), use_process=True, batch_size=1)(
        _run_batch
    )
    plan = frame.select(run(frame["task"], name, settings, folder).alias("answer"))
    stream = plan.to_arrow_iter()  # a name of its own: see main
    for batch in stream:
        yield from batch.column("answer").to_pylist()


def _run_batch(payloads: Any, name: str, settings: str, folder: str) -> pa.Array:
    """Run a batch of tasks in a worker process of daft."""
    _hide_pandas()
    answers = [run_task(name, payload, settings, folder) for payload in payloads.to_pylist()]
    return pa.array(answers, pa.large_string())


def run_task(name: str, payload: str, settings: str, folder: str) -> str:
    """Run one task of :data:`TASKS`; its heartbeats are in ``folder``."""
    with heartbeat(Path(folder)) as beat:
        return TASKS[name](payload, settings, beat)


if __name__ == "__main__":
    # Import the module under its real name, by which daft's workers find the functions.
    from codeling.corpus.build import child

    child.main()
