"""How work is spread over files: daft plans that run the two passes over a listing.

The survey reads, judges and hashes every file; the extraction reads the kept ones again and
cuts their functions. Both are one batch function each, run by daft in worker processes (the
parsers hold Python's lock, so threads would not do), and both give their results back in
the listing's order, a batch at a time.

daft itself runs in a child process (``python -m codeling.corpus.engine``), spoken to in Arrow
IPC streams: it takes over Ctrl-C for the whole process it lives in, ends its stream without
an error then, and may abort an interpreter that exits while a plan is under way. So Ctrl-C
reaches the parent alone, who stops the child; and a child whose parent has died ends by
itself. This module must not know what is kept or where it is written.
"""

import io
import json
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
from multiprocessing import shared_memory
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from codeling.corpus import dedup, filters, language
from codeling.corpus.extract import Function, Switches, extract
from codeling.errors import CorpusError
from codeling.recipe import CorpusRecipe

BATCH_FILES = 64
"""Files a worker takes at a time."""
_ONE_PROCESS_BYTES = 2_000_000
"""Below this starting worker processes takes longer than the work."""
_PREFIX_VARIABLE = "CODELING_SHARED_MEMORY_PREFIX"

if _PREFIX_VARIABLE in os.environ:
    # daft hands results over in blocks of shared memory, and a killed worker leaves its last
    # one behind. Named after this child they can be told from anybody else's, and removed.
    vars(shared_memory)["_SHM_NAME_PREFIX"] = os.environ[_PREFIX_VARIABLE]

SURVEY = pa.struct(
    [
        ("reason", pa.large_string()),
        ("num_bytes", pa.int64()),
        ("digest", pa.large_binary()),
        ("python3", pa.bool_()),
    ]
)
"""One file's verdict: drop reason or null, bytes of its text in UTF-8, digest, label."""

_FUNCTION = pa.struct(
    [
        ("name", pa.large_string()),
        ("text", pa.large_string()),
        ("tokens", pa.large_list(pa.large_string())),
        ("docstring", pa.large_string()),
        ("docstring_tokens", pa.large_list(pa.large_string())),
        ("start_line", pa.int32()),
        ("end_line", pa.int32()),
        ("digest", pa.large_binary()),
    ]
)
EXTRACTION = pa.struct(
    [
        ("content", pa.large_string()),
        ("functions", pa.large_list(_FUNCTION)),
        ("dropped", pa.large_string()),
    ]
)
"""One file's text (null where it could not be read again), its functions, and the dropped
ones as a JSON object ``reason → [functions, bytes]``."""


class Engine:
    """The child process that daft runs in; a context, which ends with the child gone."""

    def __init__(self, recipe: CorpusRecipe) -> None:
        self._recipe = recipe
        self._stack = ExitStack()

    def __enter__(self) -> "Engine":
        self._prefix = f"/cdl{secrets.token_hex(2)}_"  # names have 14 characters
        environment = {
            **os.environ,
            "DAFT_ANALYTICS_ENABLED": "0",
            "DAFT_PROGRESS_BAR": "0",
            _PREFIX_VARIABLE: self._prefix,
        }
        self._errors = self._stack.enter_context(tempfile.TemporaryFile())
        self._process = subprocess.Popen(
            [sys.executable, "-m", "codeling.corpus.engine"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            start_new_session=True,
        )
        self._stack.callback(self._stop)
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def survey(self, locations: Sequence[str], num_bytes: int) -> Iterator[pa.RecordBatch]:
        """Judge every file of ``locations``; batches of :data:`SURVEY` rows in their order.

        ``num_bytes`` is what there is to read in all; from it follows how many processes work.

        :raises CorpusError: the child ended before its work did.
        """
        return self._ask("survey", locations, num_bytes)

    def extraction(self, locations: Sequence[str], num_bytes: int) -> Iterator[pa.RecordBatch]:
        """Cut the functions out of every file; batches of :data:`EXTRACTION` rows in order.

        :raises CorpusError: the child ended before its work did.
        """
        return self._ask("extraction", locations, num_bytes)

    def _ask(self, task: str, locations: Sequence[str], num_bytes: int) -> Iterator[pa.RecordBatch]:
        if not locations:
            return
        assert self._process.stdin is not None, "the child is started with pipes"
        assert self._process.stdout is not None, "the child is started with pipes"
        names = pa.array([os.fsencode(location) for location in locations], pa.large_binary())
        question = pa.table({"location": names}).replace_schema_metadata(
            {"task": task, "recipe": self._recipe.model_dump_json(), "num_bytes": str(num_bytes)}
        )
        num_rows = 0
        try:
            with pa.ipc.new_stream(self._process.stdin, question.schema) as writer:
                writer.write_table(question)
            self._process.stdin.flush()
            with pa.ipc.open_stream(self._process.stdout) as answer:
                for batch in answer:
                    num_rows += batch.num_rows
                    yield batch
        except (pa.ArrowException, OSError) as error:
            raise CorpusError(self._obituary()) from error
        if num_rows != len(locations):
            raise CorpusError(self._obituary())

    def _obituary(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(2.0)
        self._errors.seek(0)
        last = self._errors.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
        reason = f" ({last[:200]})" if last else f" (exit status {self._process.returncode})"
        return f"the corpus engine stopped early{reason}; run the same command again"

    def _stop(self) -> None:
        """End the child and its workers, whatever they are at; at rest they end at once."""
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
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
    task, settings, num_bytes = (
        question.schema.metadata[key].decode() for key in (b"task", b"recipe", b"num_bytes")
    )
    import daft

    work, kind = _TASKS[task]
    judge = daft.func.batch(
        return_dtype=daft.DataType.from_arrow_type(kind),
        use_process=int(num_bytes) > _ONE_PROCESS_BYTES,
        batch_size=BATCH_FILES,
    )(work)
    frame = daft.from_arrow(question.replace_schema_metadata(None))
    plan = frame.select(judge(frame["location"], settings).alias("result"))
    writer = pa.ipc.new_stream(output, pa.schema(list(kind)))
    stream = plan.to_arrow_iter()  # a name of its own: see main
    for batch in stream:
        writer.write_batch(pa.RecordBatch.from_struct_array(batch.column("result")))
        output.flush()
    writer.close()
    output.flush()


def _survey(locations: Any, settings: str) -> pa.Array:
    recipe = CorpusRecipe.model_validate_json(settings)
    verdicts = [_verdict(location, recipe) for location in locations.to_pylist()]
    return pa.array(verdicts, SURVEY)


def _verdict(location: bytes, recipe: CorpusRecipe) -> dict[str, Any]:
    verdict: dict[str, Any] = {"reason": None, "num_bytes": 0, "digest": None, "python3": False}
    try:
        text = filters.decode(Path(os.fsdecode(location)).read_bytes())
    except OSError:
        return {**verdict, "reason": "unreadable"}
    except filters.UndecodableError as error:
        return {**verdict, "reason": str(error)}
    verdict["num_bytes"] = len(text.encode())
    verdict["reason"] = filters.drop_reason(text, recipe)
    if verdict["reason"] is None:
        verdict["python3"] = language.parses_as_python3(text)
        if recipe.require_python3 and not verdict["python3"]:
            verdict["reason"] = "not_python3"
        verdict["digest"] = dedup.digest(text)
    return verdict


def _extraction(locations: Any, settings: str) -> pa.Array:
    recipe = CorpusRecipe.model_validate_json(settings)
    switches = Switches(recipe.methods, recipe.docstring_summary, recipe.comment_tokens)
    texts: list[str | None] = []
    kept: list[list[Function]] = []
    dropped = []
    for location in locations.to_pylist():
        functions, counts = [], dict[str, list[int]]()
        try:
            texts.append(filters.decode(Path(os.fsdecode(location)).read_bytes()))
        except (OSError, filters.UndecodableError):
            texts.append(None)
        for function in extract(texts[-1] or "", switches):
            reason = filters.function_drop_reason(function, recipe)
            if reason is None:
                functions.append(function)
            else:
                count = counts.setdefault(reason, [0, 0])
                count[0] += 1
                count[1] += len(function.text.encode())
        kept.append(functions)
        dropped.append(json.dumps(counts))
    columns = [pa.array(texts, pa.large_string()), _lists(kept), pa.array(dropped, "large_string")]
    return pa.StructArray.from_arrays(columns, fields=list(EXTRACTION))


def _lists(files: Sequence[Sequence[Function]]) -> pa.Array:
    """The functions of each file as one Arrow list of structs, column by column."""
    offsets = [0]
    for functions in files:
        offsets.append(offsets[-1] + len(functions))
    flat = [function for functions in files for function in functions]
    columns = [
        pa.array([getattr(function, field.name) for function in flat], field.type)
        for field in list(_FUNCTION)[:-1]
    ]
    columns.append(pa.array([dedup.digest(function.text) for function in flat], "large_binary"))
    rows = pa.StructArray.from_arrays(columns, fields=list(_FUNCTION))
    return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), rows)


_TASKS: dict[str, tuple[Callable[[Any, str], pa.Array], pa.DataType]] = {
    "survey": (_survey, SURVEY),
    "extraction": (_extraction, EXTRACTION),
}

if __name__ == "__main__":
    # Under its real name: daft's workers have to find the functions by it.
    from codeling.corpus import engine

    engine.main()
