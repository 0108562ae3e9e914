import json
import os
import signal
from pathlib import Path

import pytest

from codeling.corpus.build import executor
from codeling.corpus.build.work_folder import work_file
from codeling.corpus.decontamination import problem_sets
from codeling.corpus.filters.opt_out import OptOut
from codeling.corpus.sources.partitions import FileEntry, Partition
from codeling.errors import CorpusError, UsageError
from codeling.recipe import CorpusRecipe


def settings(folder: Path) -> str:
    OptOut().save(folder / "opt-out.json")
    problem_sets.save([], folder / "problems.json")
    return json.dumps({"recipe": CorpusRecipe().model_dump(mode="json"), "folder": str(folder)})


def partition(folder: Path, number: int) -> Partition:
    path = folder / f"{number}.py"
    path.write_text(f"def f{number}():\n    a = {number}\n    return a  # {'x' * 40}\n")
    size = path.stat().st_size
    entry = FileEntry("here", path.name, "MIT", "", str(path), size, None)
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


def test_a_child_that_dies_is_one_clear_line(tmp_path: Path) -> None:
    tasks = [partition(tmp_path, 0).to_json()]
    with executor.Executor() as spread:
        list(spread.map("survey", tasks, settings(tmp_path)))
        assert spread._process is not None
        os.kill(spread._process.pid, signal.SIGKILL)
        with pytest.raises(CorpusError, match=r"stopped early \(exit status -9\); run the same"):
            list(spread.map("survey", tasks, settings(tmp_path)))


def test_no_tasks_no_question() -> None:
    with executor.Executor() as spread:
        assert list(spread.map("survey", [])) == []
        assert spread._process is None


def test_ray_that_is_not_there_is_wrong_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"--ray: Ray is not installed; install codeling\[ray\]"):
        executor.Executor(ray="127.0.0.1:6379")
