"""Bad problems in the real sandbox: each is named, and the others count.

Skipped where the sandbox cannot start.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from codeling.errors import InputError, SandboxError
from codeling.evaluation.data.datafiles import DataFile
from codeling.evaluation.data.problems import ProblemSet, read_problems
from codeling.evaluation.journal import Journal
from codeling.evaluation.sandbox import Limits, Sandbox
from codeling.evaluation.suites.functional import measure
from codeling.evaluation.suites.suite import SampleSettings

from ..conftest import AnswerFunction, Scripted

Make = Callable[[AnswerFunction], Scripted]
CHECK = "def check(f):\n    assert f(1) == 1\n"
SOLUTION = "    return x\n"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    try:
        with Sandbox(workers=1, limits=Limits(cpu_seconds=1, wall_seconds=5.0)) as started:
            yield started
    except SandboxError as error:
        pytest.skip(str(error))


def read(tmp_path: Path, **rows: tuple[str, str]) -> ProblemSet:
    """One problem per name: its test and its reference solution."""
    path = tmp_path / "problems.jsonl"
    with path.open("w") as file:
        for name, (test, solution) in rows.items():
            row = {
                "task_id": name,
                "prompt": f"def {name}(x):\n",
                "entry_point": name,
                "canonical_solution": solution,
                "test": test,
            }
            file.write(json.dumps(row) + "\n")
    return read_problems([DataFile(path, path.name)])


def test_each_bad_problem_is_named_and_the_others_count(
    sandbox: Sandbox, scripted: Make, tmp_path: Path
) -> None:
    problem_set = read(
        tmp_path,
        good=(CHECK, SOLUTION),
        endless_test=("def check(f):\n    while True:\n        pass\n", SOLUTION),
        no_check=("value = 1\n", SOLUTION),
        torn_test=("def check(f):\n    assert (\n", SOLUTION),
        large=(CHECK, "    return x  # " + "y" * 1_000_000 + "\n"),
        also_good=(CHECK, SOLUTION),
    )
    engine = scripted(lambda prompt, suffix, number: SOLUTION)
    result = measure(engine, problem_set, SampleSettings(), sandbox, Journal(tmp_path / "j", "1"))
    outcomes = {r["task_id"]: r["samples"][0]["outcome"] for r in result["problems"]}
    assert outcomes == {
        "good": "passed",
        "endless_test": "timeout",
        "no_check": "failed",
        "torn_test": "broken",
        "large": "passed",
        "also_good": "passed",
    }
    assert {each["task_id"] for each in result["references_failed"]} == {
        "endless_test",
        "no_check",
        "torn_test",
    }


def test_a_bad_answer_fails_alone(sandbox: Sandbox, scripted: Make, tmp_path: Path) -> None:
    answer = {
        "good": SOLUTION,
        "endless": "    while True:\n        pass\n",
        "leaves": "    import os\n    os._exit(0)\n",
        "greedy": "    return [0] * 10**10\n",
        "torn": "    return (\n",
        "empty": "",
        "nul": "    return x\0\n",
        "last": SOLUTION,
    }
    problem_set = read(tmp_path, **dict.fromkeys(answer, (CHECK, SOLUTION)))
    engine = scripted(lambda prompt, suffix, number: answer[prompt[4 : prompt.index("(")]])
    result = measure(engine, problem_set, SampleSettings(), sandbox, Journal(tmp_path / "j", "1"))
    passed = [r["task_id"] for r in result["problems"] if r["num_passed"]]
    assert passed == ["good", "last"]
    outcomes = {r["task_id"]: r["samples"][0]["outcome"] for r in result["problems"]}
    assert outcomes["endless"] == "timeout"
    assert outcomes["greedy"] == "out_of_memory"


def test_a_missing_library_is_an_error_and_not_a_zero(
    sandbox: Sandbox, scripted: Make, tmp_path: Path
) -> None:
    # The sandbox of this suite has no numpy, whatever is installed.
    needs = "import numpy\n" + CHECK
    problem_set = read(tmp_path, one=(needs, SOLUTION), two=(needs, SOLUTION))
    engine = scripted(lambda prompt, suffix, number: SOLUTION)
    with pytest.raises(InputError, match=r"none of the 2 reference solutions passes.*numpy"):
        measure(engine, problem_set, SampleSettings(), sandbox, Journal(tmp_path / "j", "1"))
