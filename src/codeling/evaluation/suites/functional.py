"""Problems whose answers are run: completions, each judged by the problem's own test.

A prompt is completed ``n`` times in a batch that shares its reading, up to where the function's
body ends (:mod:`codeling.generation.text.blocks`), or the script's
(:mod:`codeling.generation.text.scripts`): by indentation and tokens of the completion, never by a
string that the prompt holds too. The file's own reference solutions are judged first, by the same
judge: where none of them passes, it is the file, the library or the machine that is broken and not
the model, and there is no score at all. Single problems whose references fail are named and still
counted, since published scores count them.

Rules. pass@k: :func:`codeling.evaluation.metrics.pass_at_k.pass_at_k`. An infilling of one line is
what
the model wrote up to its first line end, and that line end; a random span is all that it wrote.
``exact_match`` compares a line without trailing blanks, and a span to the character.

This module must not know how a program is run.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from codeling.errors import InputError
from codeling.evaluation.data.contamination import TrainingCorpus, look_up, summary
from codeling.evaluation.data.problems import Problem, ProblemSet
from codeling.evaluation.journal import Journal
from codeling.evaluation.metrics.pass_at_k import pass_at_k
from codeling.evaluation.results import Record, Value, scores
from codeling.evaluation.sandbox import Job, Verdict
from codeling.generation.engine import Engine
from codeling.generation.request import Completion, SamplingKwargs
from codeling.progress import SILENT, Progress

PASSED = "passed"
KS = (1, 10, 100)
"""Of pass@k, those of Chen et al. 2021."""
_REFERENCES_AT_ONCE = 64


class Judge(Protocol):
    """Runs programs; :class:`codeling.evaluation.sandbox.Sandbox` is the one there is."""

    def judge(self, jobs: Iterable[Job]) -> Iterator[Verdict]:
        """A verdict a job, in order."""
        ...


@dataclass(frozen=True)
class Sampling:
    """How a problem is answered."""

    n: int = 1
    """Samples of each problem."""
    temperature: float = 0.0
    top_p: float | None = None
    top_k: int | None = None
    max_new_tokens: int = 512
    seed: int = 0
    batch_size: int = 32
    """Completions decoded together; also how much is done between two notes in the journal."""

    def options(self) -> SamplingKwargs:
        """For the engine: the model alone, as others measure it; not where a completion ends."""
        return SamplingKwargs(
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            max_repeats=0,
            seed=self.seed,
        )

    @property
    def group_size(self) -> int:
        """Problems whose samples are decoded together."""
        return max(1, self.batch_size // self.n)


def measure(
    engine: Engine,
    asked: ProblemSet,
    sampling: Sampling,
    judge: Judge,
    journal: Journal,
    corpus: TrainingCorpus | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Answer every problem and judge the answers: scores, and a record of each problem.

    :raises InputError: no reference solution of the file passes.
    :raises TokenizerError: infilling is asked for, and the model was not made for it.
    """
    references = judge_references(asked.problems, judge, journal, progress)
    records = journal.map_groups_with_bar(
        asked.problems,
        "problems",
        sampling.group_size,
        lambda group: _answer(engine, group, sampling, judge, corpus),
        progress,
    )
    for record, reference in zip(records, references, strict=True):
        record["reference"] = reference
    return {
        "num_problems": len(records),
        "num_samples": sampling.n * len(records),
        "scores": score_all(records, sampling),
        "contamination": summary(corpus, records),
        "references_failed": [
            {"task_id": record["task_id"], **record["reference"]}
            for record in records
            if record["reference"] and record["reference"]["outcome"] != PASSED
        ],
        "left_out": [asdict(each) for each in asked.left_out],
        "problems": records,
    }


def score_all(records: Sequence[Record], sampling: Sampling) -> list[dict[str, Any]]:
    """Every score of some answered problems."""
    values: list[tuple[str, Value]] = []
    for kind, suffix in (("line", ", single line"), ("span", ", random span"), (None, "")):
        if not any(record["span"] == kind for record in records):
            continue
        if kind:
            values.append((f"exact match{suffix}", _of(kind, _exact_share)))
        possible = [k for k in KS if k <= sampling.n]
        values += [(f"pass@{k}{suffix}", _of(kind, _pass_at(k))) for k in possible]
    return scores(records, values, sampling.seed)


def _of(kind: str | None, value: Callable[[Record], float]) -> Value:
    return lambda record: value(record) if record["span"] == kind else None


def _exact_share(record: Record) -> float:
    exact = [bool(sample["exact_match"]) for sample in record["samples"]]
    return sum(exact) / len(exact)


def _pass_at(k: int) -> Callable[[Record], float]:
    return lambda record: pass_at_k(len(record["samples"]), record["num_passed"], k)


def judge_references(
    problems: Sequence[Problem],
    judge: Judge,
    journal: Journal | None = None,
    progress: Progress = SILENT,
) -> list[dict[str, str] | None]:
    """What the judge says of each problem's best reference solution; None where it has none.

    With a journal, what it said before is kept.

    :raises InputError: there are reference solutions, and none of them passes.
    """

    def verdicts(group: Sequence[Problem]) -> list[Record]:
        jobs = [
            problem.job(f"{problem.task_id}/reference/{number}", text)
            for problem in group
            for number, text in enumerate(problem.references)
        ]
        answers = judge.judge(jobs)
        return [{"reference": _best([next(answers) for _ in p.references])} for p in group]

    beside = journal and Journal(journal.path.with_name("references.jsonl"), journal.identity)
    with progress.task("reference solutions", total=len(problems), unit="problems") as advance:
        if beside:
            records = beside.map_groups(problems, _REFERENCES_AT_ONCE, verdicts, advance)
        else:
            records = verdicts(problems)
    found = [record["reference"] for record in records]
    known = [(p, f) for p, f in zip(problems, found, strict=True) if f is not None]
    if known and all(verdict["outcome"] != PASSED for _, verdict in known):
        problem, verdict = known[0]
        raise InputError(
            f"none of the {len(known)} reference solutions passes its own test, so no score would "
            f"mean anything; {problem.task_id}: {verdict['outcome']} ({verdict['detail']})"
        )
    return found


def _best(verdicts: Sequence[Verdict]) -> dict[str, str] | None:
    if not verdicts:
        return None
    best = next((v for v in verdicts if v.outcome == PASSED), verdicts[0])
    return {"outcome": best.outcome, "detail": best.detail}


def _answer(
    engine: Engine,
    group: Sequence[Problem],
    sampling: Sampling,
    judge: Judge,
    corpus: TrainingCorpus | None,
) -> list[Record]:
    """Complete and judge some problems together."""
    answers = complete(engine, group, sampling)
    jobs = [
        problem.job(f"{problem.task_id}/{number}", sample.text)
        for problem, samples in zip(group, answers, strict=True)
        for number, sample in enumerate(samples)
    ]
    verdicts = judge.judge(jobs)
    records = []
    for problem, samples in zip(group, answers, strict=True):
        judged = [_sample(problem, sample, next(verdicts)) for sample in samples]
        reference = problem.references[0] if problem.references else ""
        records.append(
            {
                "task_id": problem.task_id,
                "prompt": problem.prompt,
                "suffix": problem.suffix,
                "span": problem.span,
                "found": look_up(corpus, problem.program(reference)),
                "num_passed": sum(sample["outcome"] == PASSED for sample in judged),
                "samples": judged,
            }
        )
    return records


def _sample(problem: Problem, answer: Completion, verdict: Verdict) -> Record:
    return {
        "completion": answer.text,
        "finish_reason": answer.finish_reason,
        "exact_match": is_exact(problem, answer.text),
        "outcome": verdict.outcome,
        "detail": verdict.detail,
    }


def is_exact(problem: Problem, completion: str) -> bool | None:
    """Whether an infilling is a reference to the character; None where nothing is filled in."""
    if problem.span is None or not problem.references:
        return None
    if problem.span == "line":
        return completion.rstrip() in {text.rstrip() for text in problem.references}
    return completion in problem.references


def complete(
    engine: Engine, group: Sequence[Problem], sampling: Sampling
) -> list[list[Completion]]:
    """``n`` completions of each problem of a group whose problems are of one kind."""
    answers: dict[str, list[Completion]] = {}
    for span, ends in sorted({(p.span or "", p.script_ends) for p in group}):
        alike = [p for p in group if (p.span or "", p.script_ends) == (span, ends)]
        options = sampling.options()
        if span == "line":
            options["stop"] = "\n"
        elif not span:
            options["stop_at_block_end"], options["script_ends"] = True, ends
        completed = engine.complete_batch(
            [problem.prompt for problem in alike],
            [problem.suffix for problem in alike],
            n=sampling.n,
            batch_size=sampling.batch_size,
            first_samples=[problem.first_sample for problem in alike],
            **options,
        )
        for problem, samples in zip(alike, completed, strict=True):
            answers[problem.task_id] = [_whole_line(problem, sample) for sample in samples]
    return [answers[problem.task_id] for problem in group]


def _whole_line(problem: Problem, sample: Completion) -> Completion:
    """A line gets the line end that it was stopped at, as it stands in the file."""
    is_line = problem.span == "line" and not sample.text.endswith("\n")
    return replace(sample, text=sample.text + "\n") if is_line else sample
