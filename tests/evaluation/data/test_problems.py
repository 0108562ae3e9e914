"""Rows to problems: each published format, and each kind of bad row."""

import json
from pathlib import Path
from typing import Any

import pytest

from codeling.errors import InputError
from codeling.evaluation.data.datafiles import DataFile
from codeling.evaluation.data.problems import CodingProblem, ProblemSet, read_problems

from ..conftest import InProcess

GOOD = {
    "task_id": "T/0",
    "prompt": "def f(x):\n",
    "entry_point": "f",
    "canonical_solution": "    return x\n",
    "test": "def check(f):\n    assert f(1) == 1\n",
}


def read(tmp_path: Path, *rows: Any) -> ProblemSet:
    path = tmp_path / "problems.jsonl"
    path.write_text("".join(r if isinstance(r, str) else json.dumps(r) + "\n" for r in rows))
    return read_problems([DataFile(path, path.name)])


def passes(problem: CodingProblem, completion: str) -> bool:
    return next(InProcess().judge([problem.job("x", completion)])).outcome == "passed"


def test_the_program_is_prompt_and_completion_byte_for_byte() -> None:
    # Harnesses that strip the prompt change its indentation or join lines.
    problem = CodingProblem("T", "  \n\tdef f(x):\n\t  ", "check", suffix=" # end\n\n")
    assert problem.program("return x ") == "  \n\tdef f(x):\n\t  return x  # end\n\n"


def test_humanevals_columns(tmp_path: Path) -> None:
    problem = read(tmp_path, GOOD).problems[0]
    assert problem.entry_point == "f"
    assert passes(problem, "    return x\n")
    assert not passes(problem, "    return 2\n")


def test_a_function_called_check_is_a_function_like_any_other(tmp_path: Path) -> None:
    row = {**GOOD, "prompt": "def check(x):\n", "entry_point": "check"}
    problem = read(tmp_path, row).problems[0]
    assert passes(problem, "    return x\n")
    assert not passes(problem, "    return 2\n")


def test_a_script_is_checked_without_a_function(own_problems: ProblemSet) -> None:
    script = own_problems.problems[2]
    assert script.entry_point is None
    assert not passes(script, script.references[0])
    assert passes(script, script.references[1])


def test_infilling_has_a_suffix_and_a_span(tmp_path: Path) -> None:
    line = {**GOOD, "task_id": "SingleLineInfilling/T/0", "suffix": "    return y\n"}
    span = {**line, "task_id": "RandomSpanInfillingLight/T/0", "suffix": ""}
    found = read(tmp_path, line, span).problems
    assert [problem.span for problem in found] == ["line", "span"]
    assert passes(found[0], "    y = x\n")


@pytest.mark.parametrize(
    "row",
    [
        {"text": "Write double.", "test_setup_code": "N = 2"},
        {"prompt": "Write double.", "test_imports": ["N = 2"]},
    ],
)
def test_mbpp_as_the_hub_has_it(row: dict[str, Any], tmp_path: Path) -> None:
    row |= {
        "task_id": 7,
        "code": "def double(x):\n  return 2 * x",
        "test_list": ["assert double(2) == 2 * N"],
    }
    problem = read(tmp_path, row).problems[0]
    assert problem.task_id == "Mbpp/7"
    assert problem.entry_point == "double"
    assert problem.prompt == '"""\nWrite double.\nassert double(2) == 2 * N\n"""\n'
    assert passes(problem, problem.references[0])
    assert not passes(problem, "def double(x):\n  return x")


def test_mbpp_plus_as_the_hub_has_it(tmp_path: Path) -> None:
    row = {
        "task_id": 2,
        "prompt": "Write double.",
        "code": "def double(x):\n    return 2 * x",
        "test_imports": [],
        "test_list": ["assert double(2) == 4"],
        "test": "for x in range(9):\n    assert double(x) == x + x\n",
    }
    problem = read(tmp_path, row).problems[0]
    assert passes(problem, problem.references[0])
    assert not passes(problem, "def double(x):\n    return 4")


@pytest.mark.parametrize(
    "row, reason",
    [
        ("{torn\n", "not a JSON object"),
        ({k: v for k, v in GOOD.items() if k != "test"}, "no column test; it has canonical_sol"),
        ({**GOOD, "test": 7}, "its test is not text"),
        (
            {**GOOD, "entry_point": "f(); import os"},
            "its entry_point 'f(); import os' is not an identifier",
        ),
        ({**GOOD, "canonical_solution": 1}, "its canonical_solution is not text"),
        ({**GOOD, "prompt": "x" * (17 << 20)}, "characters; at most"),
        ({**GOOD, "prompt": "\ud800"}, "its prompt contains a lone surrogate"),
        ({"task_id": 1, "text": "x", "code": "x", "test_list": []}, "has no assertions"),
        ({**GOOD, "plus_input": 7}, "its plus_input is not a list"),
        ({**GOOD, "base_input": [], "plus_input": {}}, "it has no inputs"),
        ({**GOOD, "base_input": [[1]], "atol": "0"}, "its atol is not a number"),
    ],
)
def test_a_bad_row_is_named_and_left_out(row: Any, reason: str, tmp_path: Path) -> None:
    found = read(tmp_path, row, {**GOOD, "task_id": "T/good"})
    assert [problem.task_id for problem in found.problems] == ["T/good"]
    assert len(found.left_out) == 1
    assert found.left_out[0].name.startswith("problems.jsonl: row 1")
    assert reason in found.left_out[0].reason


def test_a_problem_with_a_broken_test_is_kept_and_unsolvable(tmp_path: Path) -> None:
    # Published scores count it; its failing reference is named in the result.
    problem = read(tmp_path, {**GOOD, "test": "def check(f):\n  assert ("}).problems[0]
    assert not passes(problem, problem.references[0])


def test_a_repeated_task_id_is_left_out(tmp_path: Path) -> None:
    found = read(tmp_path, GOOD, GOOD)
    assert len(found.problems) == 1
    assert found.left_out[0].reason == "its task_id is not unique"


def test_a_file_without_a_problem_says_why(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no problem found; .*: row 1: no column task"):
        read(tmp_path, {"question": "?"})
    with pytest.raises(InputError, match="it has no rows"):
        read(tmp_path, "")


def test_a_large_solution_is_kept(tmp_path: Path) -> None:
    large = "    return x  # " + "y" * 1_000_000 + "\n"
    problem = read(tmp_path, {**GOOD, "canonical_solution": large}).problems[0]
    assert passes(problem, problem.references[0])


def test_problems_use_different_random_numbers(own_problems: ProblemSet) -> None:
    firsts = [problem.first_sample for problem in own_problems.problems]
    assert len(set(firsts)) == len(firsts)
    assert all(abs(a - b) >= 1 << 16 for a in firsts for b in firsts if a != b)


def test_a_limit_takes_problems_from_every_file(tmp_path: Path) -> None:
    for name, count in (("a", 5), ("b", 1), ("c", 4)):
        rows = [{**GOOD, "task_id": f"{name}/{number}"} for number in range(count)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_problems([DataFile(tmp_path / f"{n}.jsonl", f"{n}.jsonl") for n in "abc"])
    names = {
        limit: [problem.task_id for problem in found.limited(limit).problems]
        for limit in (1, 3, 6, 10, 99)
    }
    assert names[1] == ["a/0"]
    assert names[3] == ["a/0", "b/0", "c/0"]
    assert names[6] == ["a/0", "a/1", "a/2", "b/0", "c/0", "c/1"]
    assert names[10] == names[99] == [problem.task_id for problem in found.problems]
