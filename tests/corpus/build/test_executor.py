import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from codeling.corpus.build import executor
from codeling.corpus.build.work_folder import work_file
from codeling.corpus.decontamination import problem_sets
from codeling.corpus.filters.opt_out import OptOut
from codeling.corpus.sources.partitions import FileEntry, Partition
from codeling.corpus.sources.shards import Shard
from codeling.errors import CorpusError, UsageError
from codeling.recipe import CorpusRecipe

from ...corpus_process import ForkedExecutor


def settings(folder: Path) -> str:
    OptOut().save(folder / "opt-out.json")
    problem_sets.save([], folder / "problems.json")
    return json.dumps({"recipe": CorpusRecipe().model_dump(mode="json"), "folder": str(folder)})


def partition(folder: Path, number: int) -> Partition:
    path = folder / f"{number}.py"
    path.write_text(f"def f{number}():\n    a = {number}\n    return a  # {'x' * 40}\n")
    size = path.stat().st_size
    entry = FileEntry("here", path.name, "MIT", "", str(path), size, None, None)
    return Partition(number, size, (entry,))


@pytest.mark.parametrize("num_bytes", [0, 1_000_000_000])
def test_answers_come_in_order_with_and_without_worker_processes(
    num_bytes: int, tmp_path: Path
) -> None:
    tasks = [partition(tmp_path, number).to_json() for number in range(40)]
    with executor.Executor() as spread:
        found = list(spread.map("survey", tasks, settings(tmp_path), num_bytes))
        again = list(spread.map("survey", tasks[:3], settings(tmp_path), num_bytes))
    assert [json.loads(answer)["number"] for answer in found] == list(range(40))
    assert found[:3] == again
    assert all(work_file(tmp_path, "survey", number).exists() for number in range(40))


def test_a_child_that_dies_is_one_clear_error(tmp_path: Path) -> None:
    tasks = [partition(tmp_path, 0).to_json()]
    with ForkedExecutor() as spread:
        list(spread.map("survey", tasks, settings(tmp_path)))
        assert spread._process is not None
        os.kill(spread._process.pid, signal.SIGKILL)
        with pytest.raises(CorpusError, match=r"stopped early \(exit status -9\); run the same"):
            list(spread.map("survey", tasks, settings(tmp_path)))


def test_without_tasks_no_child_is_started() -> None:
    with executor.Executor() as spread:
        assert list(spread.map("survey", [])) == []
        assert spread._process is None


def test_a_missing_ray_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"--ray: Ray is not installed; install codeling\[ray\]"):
        executor.Executor(ray="127.0.0.1:6379")


def test_a_stage_without_progress_ends_with_its_position(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jsonl")  # opening it waits for a writer
    waiting = Shard(0, "a.jsonl", str(tmp_path / "a.jsonl"), "json", 0)
    (tmp_path / "b.jsonl").write_text("{}\n")
    done = Shard(0, "b.jsonl", str(tmp_path / "b.jsonl"), "json", 3)
    tasks = [json.dumps(asdict(shard)) for shard in (done, waiting)]
    with ForkedExecutor(stall_seconds=3.0) as spread:
        with pytest.raises(
            CorpusError, match=r"no progress for 3 seconds: split, 1 of 2 parts done, at a\.jsonl; "
        ):
            list(spread.map("split", tasks))
        spread.restart()
        assert len(list(spread.map("split", tasks[:1]))) == 1


CHILD = """
import functools, sys
from codeling.corpus.build import child

run_plan = child._run_plan

@functools.cache
def limit_workers():
    from daft.daft import set_compute_runtime_num_worker_threads
    set_compute_runtime_num_worker_threads(int(sys.argv[1]))  # raises if it comes too late

def run_limited_plan(*arguments):
    limit_workers()
    return run_plan(*arguments)

child._run_plan = run_limited_plan
child.main()
"""
"""The executor's child with a given number of daft workers, also more than processors."""

MATRIX = """
import json, os, subprocess, sys, time
from pathlib import Path
import pyarrow as pa
import pyarrow.parquet as pq
from codeling.corpus.build import pipeline
from codeling.corpus.build.pipeline import build
from codeling.corpus.build.executor import Executor
from codeling.progress import SILENT
from codeling.recipe import CorpusRecipe

top, cases, child_code = Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]
map_tasks = Executor.map
end = Executor.restart
shared = Executor()  # one process for all cases with the same processors
shared.restart = lambda: None
pipeline.Executor = lambda ray=None: shared
usable = sorted(os.sched_getaffinity(0))
start_process = subprocess.Popen
before = None

def map_as_large(self, name, tasks, settings="", num_bytes=0, heartbeats=None):
    num_bytes = 10**9 if name in ("survey", "extraction") else num_bytes
    return map_tasks(self, name, tasks, settings, num_bytes, heartbeats)

for number_of_shards, processors, form, size in cases:
    if processors != before:
        end(shared)
    before = processors
    os.sched_setaffinity(0, usable[:processors])
    if processors > len(usable):
        command = [sys.executable, "-c", child_code, str(processors)]
        subprocess.Popen = lambda _, **options: start_process(command, **options)
    Executor.map = map_as_large if size == "large" else map_tasks
    folder = top / f"{number_of_shards}-{processors}-{form}-{size}"
    folder.mkdir()
    for shard in range(number_of_shards):
        rows = [
            {"repo_name": f"o/r{shard}", "path": f"{i}.py", "license": "mit",
             "content": f"def f{shard}_{i}(a):\\n    b = a + {i}\\n    return b * {shard}\\n"}
            for i in range(4)
        ]
        table = pa.Table.from_pylist(rows)
        if form == "parquet":
            pq.write_table(table, folder / f"{shard}.parquet")
        elif form == "arrow":
            with pa.ipc.new_file(str(folder / f"{shard}.arrow"), table.schema) as writer:
                writer.write_table(table)
        else:
            lines = "".join(json.dumps(row) + "\\n" for row in rows)
            (folder / f"{shard}.jsonl").write_text(lines)
    values = {"sources": [{"kind": "codeparrot", "paths": str(folder)}]}
    start = time.monotonic()
    report = build(CorpusRecipe.model_validate(values), folder / "out", SILENT)
    found = report["totals"]["files_found"]
    assert found == 4 * number_of_shards, report
    print(number_of_shards, processors, form, size, f"{time.monotonic() - start:.1f} s", flush=True)
end(shared)
"""


def run_matrix(folder: Path, cases: list[tuple[int, int, str, str]], timeout: float) -> list[str]:
    """Build each (shards, processors, format, size) in one process; return a line for each."""
    command = [sys.executable, "-c", MATRIX, str(folder), json.dumps(cases), CHILD]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stdout + done.stderr[-2_000:]
    return done.stdout.splitlines()


FORMATS = ("parquet", "arrow", "jsonl")
needs_affinity = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="the system cannot limit the processors"
)


@needs_affinity
def test_small_tables_end_with_no_more_processors_than_shards(tmp_path: Path) -> None:
    cases = [(1, 1, form, "small") for form in FORMATS]
    cases += [(3, 1, "parquet", "small"), (2, 1, "parquet", "large")]
    assert len(run_matrix(tmp_path, cases, timeout=200)) == len(cases)


@needs_affinity
@pytest.mark.proof
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize("processors", [4, 3, 2, 1])
def test_every_table_ends(processors: int, size: str, tmp_path: Path) -> None:
    """With more processors than this machine has, they are shared by that number of workers."""
    cases = [(shards, processors, form, size) for shards in range(1, 10) for form in FORMATS]
    lines = run_matrix(tmp_path, cases, timeout=1700)
    sys.stdout.write("\n".join([*lines, ""]))
    assert len(lines) == len(cases)


def test_tasks_on_local_files_do_not_need_daft(tmp_path: Path) -> None:
    code = "import sys; sys.modules['daft'] = None\n" + MATRIX
    cases = [(2, 2, form, "small") for form in FORMATS]
    code = code.replace(
        '    values = {"sources"', '    values = {"keywords": ["return"], "sources"'
    ).replace(
        "map_tasks = Executor.map\n",
        "from codeling.corpus.build import child\n"
        "map_tasks = lambda self, name, tasks, settings='', num_bytes=0, heartbeats=None: ("
        "child.run_task(name, task, settings, sys.argv[1]) for task in tasks)\n",
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), json.dumps(cases), CHILD],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    assert len(done.stdout.splitlines()) == len(cases)
