"""Answers judged by tests: known faults of other harnesses, each with a test that catches it."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from codeling.errors import InputError
from codeling.evaluation.data.lookup import DataSources, PublishedFiles
from codeling.evaluation.data.problems import CodingProblem, ProblemSet
from codeling.evaluation.journal import Journal
from codeling.evaluation.sandbox import Job, Sandbox, Verdict
from codeling.evaluation.suites.functional import FunctionalSuite, judge_references, measure
from codeling.evaluation.suites.suite import (
    EvaluationSettings,
    Judge,
    ProgramRequirements,
    SampleSettings,
    SuiteInputs,
)
from codeling.progress import SILENT

from ..conftest import AnswerFunction, InProcess, Scripted

Make = Callable[[AnswerFunction], Scripted]
AFTER = "\n\ndef is_even(x):\n    return False\n\n\nprint('more')\n"


def by_reference(problem_set: ProblemSet) -> AnswerFunction:
    """Write the last reference solution, then continue beyond its end."""
    known = {problem.prompt: problem.references[-1] for problem in problem_set.problems}
    return lambda prompt, suffix, number: known[prompt] + AFTER


def test_right_answers_pass_even_if_the_model_continues(
    scripted: Make, judge: InProcess, own_problems: ProblemSet, tmp_path: Path
) -> None:
    engine = scripted(by_reference(own_problems))
    result = measure(engine, own_problems, SampleSettings(), judge, Journal(tmp_path / "j", "1"))
    assert [record["num_passed"] for record in result["problems"]] == [1, 1, 1]
    assert result["scores"][0]["name"] == "pass@1"
    assert result["scores"][0]["value"] == 1.0


def test_the_prompt_is_passed_and_run_byte_for_byte(
    scripted: Make, judge: InProcess, own_problems: ProblemSet, tmp_path: Path
) -> None:
    # Prompt stripping would break "names =" with the completion " sorted(names)".
    engine = scripted(by_reference(own_problems))
    measure(engine, own_problems, SampleSettings(), judge, Journal(tmp_path / "j", "1"))
    assert sorted(engine.prompts) == sorted(problem.prompt for problem in own_problems.problems)
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


def test_a_def_inside_the_body_ends_nothing(
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
def test_empty_bodies_do_not_pass(
    body: str, scripted: Make, judge: InProcess, own_problems: ProblemSet, tmp_path: Path
) -> None:
    functions = replace(own_problems, problems=own_problems.problems[:2])
    engine = scripted(lambda prompt, suffix, number: body)
    result = measure(engine, functions, SampleSettings(), judge, Journal(tmp_path / "j", "1"))
    assert result["scores"][0]["value"] == 0.0


def test_no_score_if_every_reference_fails(
    scripted: Make, judge: InProcess, own_problems: ProblemSet, tmp_path: Path
) -> None:
    # A missing library fails every program, right ones included.
    broken = [replace(p, check="import no_such_library\n" + p.check) for p in own_problems.problems]
    engine = scripted(by_reference(own_problems))
    with pytest.raises(InputError, match=r"none of the 3 reference solutions passes.*no_such_lib"):
        measure(engine, ProblemSet(broken), SampleSettings(), judge, Journal(tmp_path / "j", "1"))
    assert engine.prompts == []


def test_one_broken_reference_is_named_and_counted(
    scripted: Make, judge: InProcess, own_problems: ProblemSet, tmp_path: Path
) -> None:
    first, *rest = own_problems.problems
    bad = replace(first, references=("    return 3\n",))
    engine = scripted(by_reference(own_problems))
    problem_set = ProblemSet([bad, *rest])
    result = measure(engine, problem_set, SampleSettings(), judge, Journal(tmp_path / "j", "1"))
    assert [each["task_id"] for each in result["references_failed"]] == ["Own/0"]
    assert result["num_problems"] == 3


def test_a_problem_without_a_reference_is_kept(judge: InProcess) -> None:
    problem = CodingProblem("T", "def f():\n", "assert f() == 1", "f")
    assert judge_references([problem], judge) == [None]


def test_pass_at_k_counts_each_problems_samples(
    scripted: Make, judge: InProcess, own_problems: ProblemSet, tmp_path: Path
) -> None:
    right = by_reference(own_problems)

    def answer(prompt: str, suffix: str | None, number: int) -> str:
        return right(prompt, suffix, number) if number % 4 == 0 else "    return 'wrong'\n"

    functions = replace(own_problems, problems=own_problems.problems[:2])
    sampling = SampleSettings(n=20, temperature=0.8)
    result = measure(scripted(answer), functions, sampling, judge, Journal(tmp_path / "j", "1"))
    values = {score["name"]: score["value"] for score in result["scores"]}
    assert set(values) == {"pass@1", "pass@10"}
    assert values["pass@1"] == pytest.approx(5 / 20)
    assert values["pass@10"] == pytest.approx(1 - 3003 / 184756)  # C(15, 10) / C(20, 10)


def test_infilling_is_compared_and_run(scripted: Make, judge: InProcess, tmp_path: Path) -> None:
    check = "assert f(2) == 5\n"
    line = CodingProblem(
        "SingleLine/0",
        "def f(x):\n",
        check,
        "f",
        ("    y = x * 2\n",),
        "    return y + 1\n",
        "line",
    )
    span = CodingProblem(
        "Span/0", "def f(x):\n    return x ", check, "f", ("* 2 + 1",), "\n", "span"
    )
    problem_set = ProblemSet([line, span, replace(line, task_id="SingleLine/1")])
    answer = {line.prompt: "    y = x + x\n    return 0\n", span.prompt: "* 2 + 1"}
    engine = scripted(lambda prompt, suffix, number: answer[prompt])
    result = measure(engine, problem_set, SampleSettings(), judge, Journal(tmp_path / "j", "1"))
    values = {score["name"]: score["value"] for score in result["scores"]}
    assert values == {
        "exact match, single line": 0.0,
        "pass@1, single line": 1.0,
        "exact match, random span": 1.0,
        "pass@1, random span": 1.0,
    }
    assert result["problems"][0]["samples"][0]["completion"] == "    y = x + x\n"


def test_an_interrupted_measurement_ends_in_the_same_result(
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
    assert engine.prompts == [problem.prompt for problem in own_problems.problems[1:]]


class Limited(InProcess):
    """A judge that runs out of memory on programs with the word BIG, unless it is raised."""

    def __init__(self, *, is_raised: bool) -> None:
        super().__init__()
        self.is_raised = is_raised

    def judge(self, jobs: Iterable[Job]) -> Iterator[Verdict]:
        for job in jobs:
            if "BIG" in job.program and not self.is_raised:
                yield Verdict(job.identifier, "out_of_memory", "1 GiB is not enough")
            else:
                yield from super().judge([job])


def test_a_problem_whose_reference_needs_more_is_judged_with_raised_limits(
    scripted: Make, own_problems: ProblemSet, tmp_path: Path
) -> None:
    big, *others = own_problems.problems
    big = replace(big, references=("    # BIG\n" + big.references[0],))
    known = {p.prompt: p.references[-1] for p in (big, *others)}
    engine = scripted(lambda prompt, suffix, number: known[prompt])
    usual, raised = Limited(is_raised=False), Limited(is_raised=True)

    def open_raised() -> AbstractContextManager[Judge]:
        return nullcontext(raised)

    for number, opens in enumerate((open_raised, None)):
        result = measure(
            engine,
            ProblemSet([big, *others]),
            SampleSettings(),
            usual,
            Journal(tmp_path / str(number) / "j", "1"),
            open_raised=opens,
        )
        outcomes = [problem["samples"][0]["outcome"] for problem in result["problems"]]
        if opens:
            assert outcomes == ["passed"] * 3
            assert result["raised_limits"] == {"factor": 4, "problems": [big.task_id]}
            assert result["references_failed"] == []
            assert {job.identifier.rpartition("/")[0] for job in raised.jobs} == {
                big.task_id,
                f"{big.task_id}/reference",
            }
        else:
            assert outcomes == ["out_of_memory", "passed", "passed"]
            assert [each["task_id"] for each in result["references_failed"]] == [big.task_id]


def test_a_reference_that_needs_still_more_keeps_the_usual_limits(
    scripted: Make, own_problems: ProblemSet, tmp_path: Path
) -> None:
    big, *others = own_problems.problems
    big = replace(big, references=("    # BIG\n" + big.references[0],))
    result = measure(
        scripted(lambda prompt, suffix, number: ""),
        ProblemSet([big, *others]),
        SampleSettings(),
        Limited(is_raised=False),
        Journal(tmp_path / "j", "1"),
        open_raised=lambda: nullcontext(Limited(is_raised=False)),
    )
    assert result["raised_limits"]["problems"] == []
    assert result["references_failed"][0]["outcome"] == "out_of_memory"


def test_limits_are_raised_in_the_sandbox(scripted: Make, tmp_path: Path, sandbox: Sandbox) -> None:
    """As the solution of MBPP+ 255, which needs more than the usual memory."""
    prompt = "def size(n):\n"
    body = "    return len(bytes(n))\n"
    row = {"task_id": "T/0", "prompt": prompt, "entry_point": "size", "canonical_solution": body}
    row["test"] = "def check(f):\n    assert f(400 << 20) == 400 << 20\n"
    small = {**row, "task_id": "T/1", "test": "def check(f):\n    assert f(9) == 9\n"}
    path = tmp_path / "problems.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in (row, small)))
    suite = FunctionalSuite(
        "own",
        "two problems",
        PublishedFiles(("problems.jsonl",)),
        ProgramRequirements(limits=replace(sandbox.limits, memory_bytes=200 << 20)),
    )
    result = suite.measure(
        SuiteInputs(
            scripted(lambda prompt, suffix, number: body),
            suite.find_data(DataSources(shared=[str(tmp_path)])),
            EvaluationSettings(),
            Journal(tmp_path / "j", "1"),
            lambda programs: Sandbox(programs.packages, 1, programs.limits),
        )
    )
    assert [problem["samples"][0]["outcome"] for problem in result["problems"]] == ["passed"] * 2
    assert result["raised_limits"]["problems"] == ["T/0"]


def test_a_sample_that_cannot_be_judged_is_counted_separately(
    scripted: Make, own_problems: ProblemSet, tmp_path: Path
) -> None:
    class Unsure(InProcess):
        def judge(self, jobs: Iterable[Job]) -> Iterator[Verdict]:
            for job in jobs:
                if "/reference/" in job.identifier:
                    yield from super().judge([job])
                else:
                    yield Verdict(job.identifier, "unjudged", "gc is used")

    result = measure(
        scripted(lambda prompt, suffix, number: ""),
        own_problems,
        SampleSettings(n=2, temperature=0.5),
        Unsure(),
        Journal(tmp_path / "j", "1"),
    )
    assert (result["num_unjudged"], result["num_samples"]) == (6, 6)
    assert result["scores"][0]["value"] == 0.0


@pytest.mark.parametrize(
    "references, words",
    [((), "no reference solutions"), (("    pass\n",), "1 of 3 reference solutions fail")],
)
def test_failing_or_missing_references_are_noted(
    references: tuple[str, ...],
    words: str,
    scripted: Make,
    own_problems: ProblemSet,
    tmp_path: Path,
) -> None:
    first, *others = own_problems.problems
    problems = [replace(first, references=references), *others]
    if not references:
        problems = [replace(problem, references=()) for problem in problems]
    notes: list[str] = []

    class Notes:
        def __init__(self) -> None:
            self.task = SILENT.task
            self.note = notes.append

    measure(
        scripted(lambda prompt, suffix, number: ""),
        ProblemSet(problems),
        SampleSettings(),
        InProcess(),
        Journal(tmp_path / "j", "1"),
        progress=Notes(),
    )
    assert len(notes) == 1
    assert words in notes[0]
