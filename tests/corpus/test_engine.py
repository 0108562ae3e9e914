import os
import signal
from pathlib import Path

import pytest

from codeling.corpus import engine
from codeling.errors import CorpusError
from codeling.recipe import CorpusRecipe


@pytest.mark.parametrize("num_bytes", [0, 1_000_000_000])
def test_answers_come_in_order_with_and_without_worker_processes(
    num_bytes: int, tmp_path: Path
) -> None:
    locations = []
    for i in range(300):
        path = tmp_path / f"{i}.py"
        path.write_text(f"def f{i}():\n    a = {i}\n    return a  # {'x' * 40}\n")
        locations.append(str(path))
    locations.append(str(tmp_path / "gone.py"))
    with engine.Engine(CorpusRecipe()) as spread:
        verdicts = [v for b in spread.survey(locations, num_bytes) for v in b.to_pylist()]
        texts = [r for b in spread.extraction(locations, num_bytes) for r in b.to_pylist()]
    assert [v["num_bytes"] for v in verdicts[:-1]] == [
        Path(p).stat().st_size for p in locations[:-1]
    ]
    assert verdicts[-1]["reason"] == "unreadable"
    assert [[f["name"] for f in t["functions"]] for t in texts[:-1]] == [
        [f"f{i}"] for i in range(300)
    ]
    assert texts[-1] == {"content": None, "functions": [], "dropped": "{}"}


def test_a_child_that_dies_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("x = 1\n")
    with engine.Engine(CorpusRecipe()) as spread:
        os.kill(spread._process.pid, signal.SIGKILL)
        with pytest.raises(CorpusError, match=r"stopped early \(exit status -9\); run the same"):
            list(spread.survey([str(path)], 0))


def test_no_files_no_question() -> None:
    with engine.Engine(CorpusRecipe()) as spread:
        assert list(spread.survey([], 0)) == []
