"""The published files, where they are at hand: read from the folder that CODELING_PROBLEMS names.

They are not part of this repository. What they have to show: every prompt's block ends where the
reference solution does, every reference passes in the sandbox, and no emptied one does.
"""

import os

import pytest

from codeling.evaluation import datafiles
from codeling.evaluation.functional import PASSED, judge_references
from codeling.evaluation.problems import Problem, read_problems
from codeling.evaluation.sandbox import Sandbox
from codeling.evaluation.suites import suite
from codeling.generation.decoding import Output

FOLDER = os.environ.get("CODELING_PROBLEMS", "")
pytestmark = [
    pytest.mark.proof,
    pytest.mark.skipif(not FOLDER, reason="CODELING_PROBLEMS names no folder"),
    pytest.mark.timeout(1800),
]
AFTER = "\n\n\ndef another(x):\n    return x\n\n\nprint(another(1))\n"
HELPERS_BEHIND = {"MBPP/223", "MBPP/717", "MBPP/940"}
"""Their reference solutions go on with further functions, which no rule for a body can keep."""
BROKEN_MBPP = {
    56: "the function is named check, as the test is",
    64: "the text is no Python",
    123: "takes 3 seconds of processor time and more",
    160: "solution and test disagree",
    349: "the function is named check, as the test is",
    367: "the test needs a name that it does not have",
    596: "the test counts bytes of another Python's objects",
    601: "the test needs a name that it does not have",
    607: "solution and test disagree",
    631: "solution and test disagree",
    642: "solution and test disagree",
    899: "the function is named check, as the test is",
    927: "the test needs a name that it does not have",
    966: "the text is no Python",
    967: "the function is named check, as the test is",
}
"""All but 123 fail in plain Python too."""


def problems(name: str) -> list[Problem]:
    of = suite(name)
    there = datafiles.find(FOLDER)
    others = set(datafiles.named(there, of.not_patterns))
    files = [file for file in datafiles.named(there, of.patterns) if file not in others]
    if not files:
        pytest.skip(f"no file of {name} below {FOLDER}")
    asked = read_problems(files)
    assert asked.left_out == []
    return asked.problems


@pytest.mark.parametrize("name", ["humaneval", "mbpp", "pandas-eval", "numpy-eval"])
def test_an_answer_ends_where_the_reference_does(name: str) -> None:
    wrong = []
    for problem in problems(name):
        for reference in problem.references:
            output = Output(problem.prompt, (), True, problem.script_ends)
            output.feed((reference + AFTER).encode())
            if output.text.rstrip() != reference.rstrip():
                wrong.append(problem.task_id)
    assert set(wrong) - HELPERS_BEHIND <= {"PandasEval/19"}  # indented in two ways


@pytest.mark.parametrize(
    "name, count",
    [("humaneval", 164), ("infilling", 1197), ("mbpp", 974), ("pandas-eval", 101),
     ("numpy-eval", 101)],
)  # fmt: skip
def test_references_pass_and_emptied_ones_do_not(name: str, count: int) -> None:
    asked = problems(name)
    assert len(asked) == count
    with Sandbox(suite(name).packages) as sandbox:
        verdicts = judge_references(asked, sandbox)
        failed = {
            problem.task_id
            for problem, verdict in zip(asked, verdicts, strict=True)
            if verdict is None or verdict["outcome"] != PASSED
        }
        if name not in ("pandas-eval", "numpy-eval"):  # those are of the libraries of 2022
            assert failed <= {f"MBPP/{number}" for number in BROKEN_MBPP}
        bodies = [p for p in asked if p.span != "line" and p.entry_point is not None]
        empty = [p.job(p.task_id, _emptied(p)) for p in bodies]
        assert [v.identifier for v in sandbox.judge(empty) if v.passed] == []


def _emptied(problem: Problem) -> str:
    if problem.span is not None:
        return "\n"
    last = problem.prompt.rpartition("\n")[2]
    return "pass\n" if last and not last.strip() else "    pass\n"
