"""The published problem files, read from the folder that CODELING_DATA names.

They are not part of this repository. ``sandbox/test_references.py`` shows that their reference
solutions pass; here, an answer ends where the reference does.
"""

import os

import pytest

from codeling.evaluation.data import datafiles
from codeling.evaluation.data.problems import CodingProblem, read_problems
from codeling.evaluation.sandbox import Sandbox
from codeling.evaluation.suites.functional import PASSED, judge_references
from codeling.evaluation.suites.published_suites import PROBLEM_SUITES
from codeling.generation.text.decoding import CompletionText

FOLDER = os.environ.get("CODELING_DATA", "")
pytestmark = [
    pytest.mark.proof,
    pytest.mark.skipif(not FOLDER, reason="CODELING_DATA names no folder"),
    pytest.mark.timeout(1800),
]
AFTER = "\n\n\ndef another(x):\n    return x\n\n\nprint(another(1))\n"
NO_END = {"MBPP/223", "MBPP/717", "MBPP/940", "MBPP/64", "PandasEval/19"}
"""Reference solutions with further functions, which no rule for a body can keep, and two whose
indentation is not Python."""


def problems(name: str) -> list[CodingProblem]:
    (suite,) = (each for each in PROBLEM_SUITES if each.name == name)
    files = suite.published.select(datafiles.find(FOLDER))
    if not files:
        pytest.skip(f"no file of {name} below {FOLDER}")
    problem_set = read_problems(files)
    assert problem_set.left_out == []
    return problem_set.problems


@pytest.mark.parametrize("name", ["humaneval", "mbpp", "pandas-eval", "numpy-eval"])
def test_an_answer_ends_where_the_reference_does(name: str) -> None:
    wrong = []
    for problem in problems(name):
        for reference in problem.references:
            output = CompletionText(problem.prompt, (), True, problem.script_ends)
            output.feed((reference + AFTER).encode())
            if output.text.rstrip() != reference.rstrip():
                wrong.append(problem.task_id)
    assert set(wrong) <= NO_END


def test_every_infilling_passes_with_the_removed_text() -> None:
    problem_set = problems("infilling")
    with Sandbox() as sandbox:
        verdicts = judge_references(problem_set, sandbox)
        assert {verdict["outcome"] if verdict else None for verdict in verdicts} == {PASSED}
        spans = [
            problem.job(problem.task_id, "\n") for problem in problem_set if problem.span == "span"
        ]
        assert [verdict.identifier for verdict in sandbox.judge(spans) if verdict.passed] == []
