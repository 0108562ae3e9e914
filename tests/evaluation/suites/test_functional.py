"""Answers judged by tests: the known faults of harnesses, each with what would catch it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from codeling.errors import InputError
from codeling.evaluation.data.problems import Problem, ProblemSet
from codeling.evaluation.journal import Journal
from codeling.evaluation.suites.functional import judge_references, measure
from codeling.evaluation.suites.suite import SampleSettings

from ..conftest import InProcess, Says, Scripted

Make = Callable[[Says], Scripted]
AFTER = "\n\ndef is_even(x):\n    return False\n\n\nprint('more')\n"


def by_reference(asked: ProblemSet) -> Says:
    """Writes the last reference solution, and then more than was asked for."""
    known = {problem.prompt: problem.references[-1] for problem in asked.problems}
    return lambda prompt, suffix, number: known[prompt] + AFTER


def test_right_answers_pass_though_the_model_writes_on(
    scripted: Make, judge: InProcess, own_problems: ProblemSet, tmp_path: Path
) -> None:
    engine = scripted(by_reference(own_problems))
    result = measure(engine, own_problems, SampleSettings(), judge, Journal(tmp_path / "j", "1"))
    assert [record["num_passed"] for record in result["problems"]] == [1, 1, 1]
    assert result["scores"][0]["name"] == "pass@1"
    assert result["scores"][0]["value"] == 1.0


def test_the_prompt_is_given_and_run_to_the_byte(
    scripted: Make, judge: InProcess, own_problems: ProblemSet, tmp_path: Path
) -> None:
    # Prompt stripping: "names =" and a completion " sorted(names)" have to meet as they are.
    engine = scripted(by_reference(own_problems))
    measure(engine, own_problems, SampleSettings(), judge, Journal(tmp_path / "j", "1"))
    assert sorted(engine.asked) == sorted(problem.prompt for problem in own_problems.problems)
    programs = [job.program for job in judge.jobs if "/reference/" not in job.identifier]
    for problem, program in zip(own_problems.problems, programs, strict=True):
        assert program.startswith(problem.prompt + problem.references[-1].rstrip("\n"))


def test_a_def_in_the_prompt_ends_nothing(
    scripted: Make, judge: InProcess, own_problems: ProblemSet, tmp_path: Path
) -> None:
    # CodeParrot cuts prompt and completion together at "\ndef": nothing is left of Own/1.
    helper = replace(own_problems, problems=own_problems.problems[1:2])
    engine = scripted(by_reference(helper))
    result = measure(engine, helper, SampleSettings(), judge, Journal(tmp_path / "j", "1"))
    sample = result["problems"][0]["samples"][0]
    assert sample["completion"].rstrip() == helper.problems[0].references[0].rstrip()
    assert sample["outcome"] == "passed"


def test_a_def_within_the_body_ends_nothing(
    scripted: Make, judge: InProcess, own_problems: ProblemSet, tmp_path: Path
) -> None:
    body = "    def twice(y):\n        text = '''\ndef no\n'''\n        return y + y\n\n"
    body += "    return twice(x)\n"
    one = replace(own_problems, problems=own_problems.problems[:1])
    engine = scripted(lambda prompt, suffix, number: body + AFTER)
    result = measure(engine, one, SampleSettings(), judge, Journal(tmp_path / "j", "1"))
    assert result["problems"][0]["samples"][0]["completion"].rstrip() == body.rstrip()
    assert result["problems"][0]["num_passed"] == 1


@pytest.mark.parametrize("body", ["", "    pass\n", "    return None\n"])
def test_emptied_bodies_do_not_pass(
    body: str, scripted: Make, judge: InProcess, own_problems: ProblemSet, tmp_path: Path
) -> None:
    functions = replace(own_problems, problems=own_problems.problems[:2])
    engine = scripted(lambda prompt, suffix, number: body)
    result = measure(engine, functions, SampleSettings(), judge, Journal(tmp_path / "j", "1"))
    assert result["scores"][0]["value"] == 0.0


def test_a_score_of_zero_is_refused_where_the_references_fail_too(
    scripted: Make, judge: InProcess, own_problems: ProblemSet, tmp_path: Path
) -> None:
    # Silent zeros: a library that is not there fails every program, the right ones too.
    broken = [replace(p, check="import no_such_library\n" + p.check) for p in own_problems.problems]
    engine = scripted(by_reference(own_problems))
    with pytest.raises(InputError, match=r"none of the 3 reference solutions passes.*no_such_lib"):
        measure(engine, ProblemSet(broken), SampleSettings(), judge, Journal(tmp_path / "j", "1"))
    assert engine.asked == []


def test_one_broken_reference_is_named_and_counted(
    scripted: Make, judge: InProcess, own_problems: ProblemSet, tmp_path: Path
) -> None:
    first, *rest = own_problems.problems
    bad = replace(first, references=("    return 3\n",))
    engine = scripted(by_reference(own_problems))
    asked = ProblemSet([bad, *rest])
    result = measure(engine, asked, SampleSettings(), judge, Journal(tmp_path / "j", "1"))
    assert [each["task_id"] for each in result["references_failed"]] == ["Own/0"]
    assert result["num_problems"] == 3


def test_a_problem_without_a_reference_is_asked_all_the_same(judge: InProcess) -> None:
    problem = Problem("T", "def f():\n", "assert f() == 1", "f")
    assert judge_references([problem], judge) == [None]


def test_pass_at_k_counts_each_problems_samples(
    scripted: Make, judge: InProcess, own_problems: ProblemSet, tmp_path: Path
) -> None:
    right = by_reference(own_problems)

    def says(prompt: str, suffix: str | None, number: int) -> str:
        return right(prompt, suffix, number) if number % 4 == 0 else "    return 'wrong'\n"

    functions = replace(own_problems, problems=own_problems.problems[:2])
    sampling = SampleSettings(n=20, temperature=0.8)
    result = measure(scripted(says), functions, sampling, judge, Journal(tmp_path / "j", "1"))
    values = {score["name"]: score["value"] for score in result["scores"]}
    assert set(values) == {"pass@1", "pass@10"}
    assert values["pass@1"] == pytest.approx(5 / 20)
    assert values["pass@10"] == pytest.approx(1 - 3003 / 184756)  # C(15, 10) / C(20, 10)


def test_infilling_is_compared_and_run(scripted: Make, judge: InProcess, tmp_path: Path) -> None:
    check = "assert f(2) == 5\n"
    line = Problem(
        "SingleLine/0",
        "def f(x):\n",
        check,
        "f",
        ("    y = x * 2\n",),
        "    return y + 1\n",
        "line",
    )
    span = Problem("Span/0", "def f(x):\n    return x ", check, "f", ("* 2 + 1",), "\n", "span")
    asked = ProblemSet([line, span, replace(line, task_id="SingleLine/1")])
    says = {line.prompt: "    y = x + x\n    return 0\n", span.prompt: "* 2 + 1"}
    engine = scripted(lambda prompt, suffix, number: says[prompt])
    result = measure(engine, asked, SampleSettings(), judge, Journal(tmp_path / "j", "1"))
    values = {score["name"]: score["value"] for score in result["scores"]}
    assert values == {
        "exact match, single line": 0.0,
        "pass@1, single line": 1.0,
        "exact match, random span": 1.0,
        "pass@1, random span": 1.0,
    }
    assert result["problems"][0]["samples"][0]["completion"] == "    y = x + x\n"


def test_stopped_anywhere_it_ends_in_the_same_result(
    scripted: Make, judge: InProcess, own_problems: ProblemSet, tmp_path: Path
) -> None:
    sampling = SampleSettings(n=2, temperature=0.5, batch_size=2)
    right = by_reference(own_problems)
    expected = measure(
        scripted(right), own_problems, sampling, judge, Journal(tmp_path / "a" / "j", "1")
    )

    def stops(prompt: str, suffix: str | None, number: int) -> str:
        if prompt == own_problems.problems[1].prompt:
            raise KeyboardInterrupt
        return right(prompt, suffix, number)

    path = tmp_path / "b" / "j"
    with pytest.raises(KeyboardInterrupt):
        measure(scripted(stops), own_problems, sampling, judge, Journal(path, "1"))
    engine = scripted(right)
    assert measure(engine, own_problems, sampling, judge, Journal(path, "1")) == expected
    assert engine.asked == [problem.prompt for problem in own_problems.problems[1:]]
