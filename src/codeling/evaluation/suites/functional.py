"""Suites whose answers are run: completions, each judged by the problem's own test.

Each prompt is completed ``n`` times, up to where the function's body ends
(:mod:`codeling.generation.text.blocks`) or the script does
(:mod:`codeling.generation.text.scripts`). Indentation and tokens of the completion decide that,
never a string that the prompt could contain too.

The file's reference solutions are judged first, by the same judge. A problem whose reference runs
out of time or memory is judged with :data:`LIMIT_FACTOR` times the limits if the reference passes
with them. When no reference passes, the file, a library or the machine is broken and not the model,
so there is no score. When only some fail, they are named and their problems still count, because
published scores count them.

pass@k is :func:`codeling.evaluation.metrics.pass_at_k.pass_at_k`. A single-line infilling is what
the model wrote up to and including its first line end; a random span is all that it wrote.
``exact_match`` compares lines without trailing whitespace, and spans to the character.

This module must not know how a program is run.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass, replace
from typing import Any

from codeling.errors import InputError
from codeling.evaluation.completions import complete_requests
from codeling.evaluation.data.contamination import (
    TrainingCorpus,
    contamination_summary,
    find_in_training,
)
from codeling.evaluation.data.lookup import (
    DataSources,
    PublishedFiles,
    SuiteData,
    find_problem_files,
)
from codeling.evaluation.data.problems import CodingProblem, ProblemSet, read_problems
from codeling.evaluation.journal import Journal
from codeling.evaluation.metrics.pass_at_k import pass_at_k
from codeling.evaluation.results import Record, Value, scores
from codeling.evaluation.sandbox import Job, Verdict
from codeling.evaluation.suites.suite import (
    EvaluationSettings,
    Judge,
    ProgramRequirements,
    SampleSettings,
    SuiteInputs,
    sampled_settings,
)
from codeling.generation.engine import Engine
from codeling.generation.request import Completion, Request
from codeling.progress import SILENT, Progress
from codeling.quantity import quantity

PASSED = "passed"
UNJUDGED = "unjudged"
"""The outcome of a program whose behaviour the sandbox cannot reproduce."""
KS = (1, 10, 100)
"""The k of pass@k in Chen et al. 2021."""
LIMIT_FACTOR = 4
"""Factor on a program's limits where its problem's reference solution needs more. The default
of 1 GiB becomes the 4 GB that EvalPlus allows (its docs/execution.md)."""
_REFERENCES_PER_GROUP = 64
_RAN_OUT = ("timeout", "out_of_memory")


@dataclass(frozen=True)
class FunctionalSuite:
    """A published set of problems with tests."""

    name: str
    summary: str
    published: PublishedFiles
    programs: ProgramRequirements
    max_new_tokens: int = 512
    reads_any_text: bool = False
    version: int = 2
    """Version of the suite's rules. 2: a limit takes problems from every file, not only the first
    one. 3: infillings are in SPM order."""

    def find_data(self, sources: DataSources) -> SuiteData:
        """The files with the published names."""
        return find_problem_files(self.name, self.published, sources)

    def recorded_settings(self, settings: EvaluationSettings, engine: Engine) -> dict[str, Any]:
        """How problems are sampled, and the limits of each program."""
        samples = settings.samples(self.max_new_tokens)
        limits = asdict(self.programs.limits)
        return sampled_settings(
            settings, engine, samples, None, limits=limits, version=self.version
        )

    def measure(self, inputs: SuiteInputs) -> dict[str, Any]:
        """See :func:`measure`."""
        problem_set = read_problems(inputs.data.files)
        for each in problem_set.left_out:
            inputs.progress.note(f"{self.name}: {each.name} is left out: {each.reason}")
        if inputs.settings.limit:
            problem_set = problem_set.limited(inputs.settings.limit)
        with inputs.open_judge(self.programs) as judge:
            return measure(
                inputs.engine,
                problem_set,
                inputs.settings.samples(self.max_new_tokens),
                judge,
                inputs.journal,
                inputs.corpus,
                inputs.progress,
                open_raised=lambda: inputs.open_judge(self.programs.raised(LIMIT_FACTOR)),
            )


def measure(
    engine: Engine,
    problem_set: ProblemSet,
    settings: SampleSettings,
    judge: Judge,
    journal: Journal,
    corpus: TrainingCorpus | None = None,
    progress: Progress = SILENT,
    *,
    open_raised: Callable[[], AbstractContextManager[Judge]] | None = None,
) -> dict[str, Any]:
    """Complete every problem and judge the completions: scores, and one record per problem.

    ``open_raised`` opens a judge with raised limits, for problems whose references need it.

    :raises InputError: no reference solution of the file passes.
    :raises TokenizerError: the problems are infillings, and the tokenizer has no infilling tokens.
    """
    problems = problem_set.problems
    references = _reference_verdicts(problems, judge, journal, progress)
    with ExitStack() as stack:
        judges = _Judges(judge)
        ran_out = [
            index
            for index, found in enumerate(references)
            if found and found["outcome"] in _RAN_OUT
        ]
        if ran_out and open_raised:
            raised = stack.enter_context(open_raised())
            hard = [problems[index] for index in ran_out]
            again = zip(ran_out, _reference_verdicts(hard, raised, None, progress), strict=True)
            passed = {
                index: found for index, found in again if found and found["outcome"] == PASSED
            }
            for index, found in passed.items():
                references[index] = found
            judges = _Judges(judge, raised, frozenset(problems[i].task_id for i in passed))
        _require_passing(problems, references)
        records = journal.map_groups_with_bar(
            problems,
            "problems",
            settings.group_size,
            lambda group: _answer(engine, group, settings, judges, corpus),
            progress,
        )
    for record, reference in zip(records, references, strict=True):
        record["reference"] = reference
    _note_references(references, progress)
    return {
        "num_problems": len(records),
        "num_samples": settings.n * len(records),
        "num_unjudged": sum(
            sample["outcome"] == UNJUDGED for record in records for sample in record["samples"]
        ),
        "scores": score_all(records, settings),
        "contamination": contamination_summary(corpus, records),
        "references_failed": [
            {"task_id": record["task_id"], **record["reference"]}
            for record in records
            if record["reference"] and record["reference"]["outcome"] != PASSED
        ],
        "raised_limits": {"factor": LIMIT_FACTOR, "problems": sorted(judges.raised_problems)},
        "left_out": [asdict(each) for each in problem_set.left_out],
        "problems": records,
    }


def score_all(records: Sequence[Record], settings: SampleSettings) -> list[dict[str, Any]]:
    """Every score of the judged problems."""
    values: list[tuple[str, Value]] = []
    for kind, suffix in (("line", ", single line"), ("span", ", random span"), (None, "")):
        if not any(record["span"] == kind for record in records):
            continue
        if kind:
            values.append((f"exact match{suffix}", _value_of(kind, _exact_share)))
        possible = [k for k in KS if k <= settings.n]
        values += [(f"pass@{k}{suffix}", _value_of(kind, _pass_at(k))) for k in possible]
    return scores(records, values, settings.seed)


def _value_of(kind: str | None, value: Callable[[Record], float]) -> Value:
    return lambda record: value(record) if record["span"] == kind else None


def _exact_share(record: Record) -> float:
    exact = [bool(sample["exact_match"]) for sample in record["samples"]]
    return sum(exact) / len(exact)


def _pass_at(k: int) -> Callable[[Record], float]:
    return lambda record: pass_at_k(len(record["samples"]), record["num_passed"], k)


@dataclass(frozen=True)
class _Judges:
    """A judge, and one with raised limits for some problems."""

    usual: Judge
    raised: Judge | None = None
    raised_problems: frozenset[str] = frozenset()
    """Their ``task_id``."""

    def judge(self, problems: Sequence[CodingProblem], jobs: Sequence[Job]) -> list[Verdict]:
        """One verdict per job; ``problems`` has the problem of each job."""
        is_raised = [problem.task_id in self.raised_problems for problem in problems]
        verdicts: dict[int, Verdict] = {}
        for judge, kind in ((self.usual, False), (self.raised, True)):
            own = [index for index, each in enumerate(is_raised) if each is kind]
            if judge and own:
                found = judge.judge([jobs[index] for index in own])
                verdicts |= zip(own, found, strict=True)
        return [verdicts[index] for index in range(len(jobs))]


def judge_references(
    problems: Sequence[CodingProblem], judge: Judge, progress: Progress = SILENT
) -> list[dict[str, str] | None]:
    """The verdict on each problem's best reference solution; None where it has no reference.

    :raises InputError: there are reference solutions, and none of them passes.
    """
    found = _reference_verdicts(problems, judge, None, progress)
    _require_passing(problems, found)
    return found


def _reference_verdicts(
    problems: Sequence[CodingProblem], judge: Judge, journal: Journal | None, progress: Progress
) -> list[dict[str, str] | None]:
    """As :func:`judge_references`; ``journal`` keeps the verdicts of an interrupted run."""

    def verdicts(group: Sequence[CodingProblem]) -> list[Record]:
        jobs = [
            problem.job(f"{problem.task_id}/reference/{number}", text)
            for problem in group
            for number, text in enumerate(problem.references)
        ]
        answers = judge.judge(jobs)
        return [{"reference": _best([next(answers) for _ in p.references])} for p in group]

    saved = journal and Journal(journal.path.with_name("references.jsonl"), journal.identity)
    with progress.task("reference solutions", total=len(problems), unit="problems") as advance:
        if saved:
            records = saved.map_groups(problems, _REFERENCES_PER_GROUP, verdicts, advance)
        else:
            records = verdicts(problems)
    return [record["reference"] for record in records]


def _require_passing(
    problems: Sequence[CodingProblem], references: Sequence[dict[str, str] | None]
) -> None:
    """:raises InputError: there are reference solutions, and none of them passes."""
    known = [(p, found) for p, found in zip(problems, references, strict=True) if found]
    if known and all(verdict["outcome"] != PASSED for _, verdict in known):
        problem, verdict = known[0]
        raise InputError(
            f"none of the {quantity(len(known), 'reference solution')} passes its own test, so "
            f"no score would mean anything; {problem.task_id}: {verdict['outcome']} "
            f"({verdict['detail']})"
        )


def _note_references(references: Sequence[dict[str, str] | None], progress: Progress) -> None:
    """Note what the verdicts on the references mean for the scores."""
    outcomes = [found["outcome"] for found in references if found]
    num_failed = sum(outcome != PASSED for outcome in outcomes)
    if not outcomes:
        progress.note("no reference solutions: a broken test looks like a wrong answer")
    elif num_failed:
        progress.note(
            f"{num_failed} of {quantity(len(outcomes), 'reference solution')} failed their own "
            "test; evaluation.html names them"
        )


def _best(verdicts: Sequence[Verdict]) -> dict[str, str] | None:
    if not verdicts:
        return None
    best = next((v for v in verdicts if v.outcome == PASSED), verdicts[0])
    return {"outcome": best.outcome, "detail": best.detail}


def _answer(
    engine: Engine,
    group: Sequence[CodingProblem],
    settings: SampleSettings,
    judges: _Judges,
    corpus: TrainingCorpus | None,
) -> list[Record]:
    """Complete and judge a group of problems."""
    answers = complete(engine, group, settings)
    pairs = [
        (problem, problem.job(f"{problem.task_id}/{number}", sample.text))
        for problem, samples in zip(group, answers, strict=True)
        for number, sample in enumerate(samples)
    ]
    verdicts = iter(judges.judge([problem for problem, _ in pairs], [job for _, job in pairs]))
    records = []
    for problem, samples in zip(group, answers, strict=True):
        judged = [_sample(problem, sample, next(verdicts)) for sample in samples]
        reference = problem.references[0] if problem.references else ""
        records.append(
            {
                "task_id": problem.task_id,
                "entry_point": problem.entry_point,
                "prompt": problem.prompt,
                "suffix": problem.suffix,
                "span": problem.span,
                "found": find_in_training(corpus, problem.program(reference)),
                "num_passed": sum(sample["outcome"] == PASSED for sample in judged),
                "samples": judged,
            }
        )
    return records


def _sample(problem: CodingProblem, answer: Completion, verdict: Verdict) -> Record:
    return {
        "completion": answer.text,
        "finish_reason": answer.finish_reason,
        "exact_match": is_exact(problem, answer.text),
        "outcome": verdict.outcome,
        "detail": verdict.detail,
    }


def is_exact(problem: CodingProblem, completion: str) -> bool | None:
    """Whether an infilling equals a reference; None where the problem is not an infilling."""
    if problem.span is None or not problem.references:
        return None
    if problem.span == "line":
        return completion.rstrip() in {text.rstrip() for text in problem.references}
    return completion in problem.references


def complete(
    engine: Engine, group: Sequence[CodingProblem], settings: SampleSettings
) -> list[list[Completion]]:
    """``n`` completions of each problem of a group."""
    requests = []
    for problem in group:
        if problem.span == "line":
            params = settings.params(stop="\n")
        elif problem.span:
            params = settings.params()
        else:
            params = settings.params(stop_at_block_end=True, script_ends=problem.script_ends)
        requests += [
            Request(problem.prompt, problem.suffix, params, problem.first_sample + number)
            for number in range(settings.n)
        ]
    done = iter(complete_requests(engine, requests, settings.batch_size))
    return [[_whole_line(problem, next(done)) for _ in range(settings.n)] for problem in group]


def _whole_line(problem: CodingProblem, sample: Completion) -> Completion:
    """``sample`` with the line end that stopped a single-line infilling."""
    is_line = problem.span == "line" and not sample.text.endswith("\n")
    return replace(sample, text=sample.text + "\n") if is_line else sample
