import gzip
import json
from pathlib import Path

import pytest

from codeling.corpus.decontamination.problem_sets import Problem, load, read_problems, save
from codeling.errors import CorpusError, UsageError

ROW = {
    "task_id": "Set/1",
    "prompt": "def f():\n",
    "canonical_solution": "    return 1\n",
    "test": "",
}


def test_problems_are_read_plain_and_gzipped(tmp_path: Path) -> None:
    lines = "\n".join(json.dumps({**ROW, "task_id": f"Set/{i}"}) for i in range(3)) + "\n\n"
    (tmp_path / "set.jsonl").write_text(lines, encoding="utf-8")
    (tmp_path / "set.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    plain = read_problems(tmp_path / "set.jsonl")
    assert plain == [Problem(f"Set/{i}", "def f():\n", ("    return 1\n",)) for i in range(3)]
    assert read_problems(tmp_path / "set.jsonl.gz") == plain


def test_saved_problems_are_loaded_again(tmp_path: Path) -> None:
    problems = [Problem("Set/1", "def f():\n", ("a", "b")), Problem("é", "", ())]
    save(problems, tmp_path / "problems.json")
    assert load(tmp_path / "problems.json") == problems


@pytest.mark.parametrize(
    "solution, expected",
    [
        ("    return 1", ("    return 1",)),
        (["a", "b"], ("a", "b")),
        ("[' a[:, :, newaxis]', 'b']", (" a[:, :, newaxis]", "b")),
        ("[x for x in y]", ("[x for x in y]",)),
        ("[unclosed", ("[unclosed",)),
    ],
)
def test_solutions_may_be_a_list_or_one_written_as_text(
    tmp_path: Path, solution: object, expected: tuple[str, ...]
) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text(json.dumps({**ROW, "canonical_solution": solution}), encoding="utf-8")
    assert read_problems(path)[0].solutions == expected


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "contains no problem"),
        (b"{", "line 1: not JSON"),
        (b"[]\n", "line 1: a list where an object is expected"),
        (json.dumps(ROW).encode() + b'\n{"task_id": "x"}\n', "line 2: no prompt"),
        (b"\xff\xfe", "cannot be read"),
        (gzip.compress(json.dumps(ROW).encode(), mtime=0)[:-12], "cannot be read"),
        (None, "cannot be read"),
    ],
    ids=["empty", "no-json", "no-object", "no-prompt", "no-text", "cut-short", "missing"],
)
def test_a_bad_problem_set_is_one_clear_line(
    tmp_path: Path, data: bytes | None, message: str
) -> None:
    path = tmp_path / "set.jsonl"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises((CorpusError, UsageError), match=message) as caught:
        read_problems(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
