"""Do the published problems' own solutions pass in the sandbox, and nothing where they are emptied?

Every reference solution of every file is judged as a model's answer would be; then every body is
emptied and judged again. What does not pass is named with its reason.

    python benchmarks/references.py --data DIR
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from codeling.evaluation.data import datafiles
from codeling.evaluation.data.problems import LeftOut, Problem, read_problems
from codeling.evaluation.sandbox import Sandbox
from codeling.evaluation.suites.functional import PASSED, FunctionalSuite, judge_references
from codeling.evaluation.suites.problem_sets import PROBLEM_SUITES

EMPTY = "    pass\n"


@dataclass(frozen=True)
class Outcome:
    """What came out of one file."""

    suite: str
    problems: int
    passed: int
    failed: tuple[LeftOut, ...]
    emptied: tuple[str, ...]
    """Problems that an empty answer passes."""
    seconds: float


def emptied(problem: Problem) -> str:
    """An answer without any content: nothing where a suffix or script goes on, else ``pass``.

    It is indented as the prompt is, where that ends in the middle of a line's indentation.
    """
    if problem.suffix is not None or problem.entry_point is None:
        return "\n"
    last = problem.prompt.rpartition("\n")[2]
    return EMPTY.lstrip() if last and not last.strip() else EMPTY


def check(suite: FunctionalSuite, path: Path, workers: int | None = None) -> Outcome:
    """Judge every reference of a file, and every emptied body."""
    asked = read_problems([datafiles.DataFile(path, path.name)])
    began = time.perf_counter()
    with Sandbox(suite.programs.packages, workers, suite.programs.limits) as sandbox:
        verdicts = judge_references(asked.problems, sandbox)
        jobs = [p.job(p.task_id, emptied(p)) for p in asked.problems]
        empty = [v.identifier for v in sandbox.judge(jobs) if v.passed]
    failed = tuple(
        LeftOut(p.task_id, f"{v['outcome']}: {v['detail']}")
        for p, v in zip(asked.problems, verdicts, strict=True)
        if v is not None and v["outcome"] != PASSED
    )
    seconds = time.perf_counter() - began
    passed = len(asked.problems) - len(failed)
    return Outcome(
        suite.name, len(asked.problems), passed, (*asked.left_out, *failed), tuple(empty), seconds
    )


def files(data: Path) -> list[tuple[FunctionalSuite, Path]]:
    """The files of every suite with problems below a folder."""
    there = datafiles.find(str(data))
    found = []
    for suite in PROBLEM_SUITES:
        found += [(suite, file.path) for file in suite.published.select(there)]
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line a file, and a line for each solution that does not pass."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder with the published files")
    parser.add_argument("--workers", type=int, help="programs run at once")
    options = parser.parse_args(arguments)
    for suite, path in files(options.data):
        outcome = check(suite, path, options.workers)
        print(
            f"{suite.name:<15} {path.name:<46} {outcome.passed} of {outcome.problems} pass, "
            f"{len(outcome.emptied)} with an empty answer, {outcome.seconds:.1f} s",
            flush=True,
        )
        for each in outcome.failed:
            print(f"    {each.name}: {each.reason}")
        for name in outcome.emptied:
            print(f"    {name}: passes with an empty answer")


if __name__ == "__main__":
    main()
