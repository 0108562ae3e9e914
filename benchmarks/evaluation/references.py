"""Nearly all published reference solutions pass in the sandbox, and hardly any empty answer does.

Judges each reference solution like a model's answer, then an empty answer to the same problem.
Prints every problem with an unexpected verdict and the reason. ``--limits`` also prints how many
references pass within each limit of memory and of CPU time.

    python -m benchmarks.evaluation.references --data DIR --limits
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from codeling.evaluation.data import datafiles
from codeling.evaluation.data.problems import CodingProblem, LeftOut, read_problems
from codeling.evaluation.sandbox import Job, Limits, Sandbox
from codeling.evaluation.suites.functional import PASSED, FunctionalSuite, judge_references
from codeling.evaluation.suites.published_suites import PROBLEM_SUITES

EMPTY = "    pass\n"
MEMORY_MIB = (4096, 2048, 1024, 512, 256, 128, 64, 32)
CPU_SECONDS = (60, 10, 5, 3, 2, 1)


@dataclass(frozen=True)
class FileResult:
    """The verdicts for one file."""

    suite: str
    problems: int
    passed: int
    failed: tuple[LeftOut, ...]
    passed_empty: tuple[str, ...]
    """Problems that an empty answer passes."""
    seconds: float


def empty_answer(problem: CodingProblem) -> str:
    """A line end where a suffix or a script follows, else ``pass``.

    ``pass`` is not indented where the prompt ends within a line's indentation.
    """
    if problem.suffix is not None or problem.entry_point is None:
        return "\n"
    last = problem.prompt.rpartition("\n")[2]
    return EMPTY.lstrip() if last and not last.strip() else EMPTY


def judge_file(suite: FunctionalSuite, path: Path, workers: int | None = None) -> FileResult:
    """Judge every reference of a file, and an empty answer to every problem."""
    found = read_problems([datafiles.DataFile(path, path.name)])
    start = time.perf_counter()
    with Sandbox(suite.programs.packages, workers, suite.programs.limits) as sandbox:
        verdicts = judge_references(found.problems, sandbox)
        jobs = [p.job(p.task_id, empty_answer(p)) for p in found.problems]
        empty = [v.identifier for v in sandbox.judge(jobs) if v.passed]
    failed = tuple(
        LeftOut(p.task_id, f"{v['outcome']}: {v['detail']}")
        for p, v in zip(found.problems, verdicts, strict=True)
        if v is not None and v["outcome"] != PASSED
    )
    seconds = time.perf_counter() - start
    passed = len(found.problems) - len(failed)
    return FileResult(
        suite.name, len(found.problems), passed, (*found.left_out, *failed), tuple(empty), seconds
    )


def print_limits(suite: FunctionalSuite, path: Path, workers: int | None) -> None:
    """Print how many references pass within each limit, from the largest to the smallest.

    A reference that fails within a limit is not tried within a smaller one.
    """
    found = read_problems([datafiles.DataFile(path, path.name)])
    jobs = [
        p.job(f"{p.task_id}/{number}", text)
        for p in found.problems
        for number, text in enumerate(p.references)
    ]
    most = Limits(cpu_seconds=CPU_SECONDS[0], wall_seconds=120.0, memory_bytes=MEMORY_MIB[0] << 20)
    packages = suite.programs.packages
    passing = _passing(packages, workers, most, jobs)
    for name, values in (("MiB of memory", MEMORY_MIB), ("s of CPU time", CPU_SECONDS)):
        remaining = passing
        for value in values:
            field = "cpu_seconds" if "CPU" in name else "memory_bytes"
            limits = replace(most, **{field: value if "CPU" in name else value << 20})
            kept = _passing(packages, workers, limits, remaining)
            lost = [job.identifier for job in remaining if job not in kept]
            remaining = kept
            print(
                f"    {value:5} {name}: {len(kept)} of {len(passing)}  {' '.join(lost[:6])}",
                flush=True,
            )


def _passing(
    packages: Sequence[str], workers: int | None, limits: Limits, jobs: Sequence[Job]
) -> list[Job]:
    with Sandbox(packages, workers, limits) as sandbox:
        verdicts = list(sandbox.judge(jobs))
    return [job for job, verdict in zip(jobs, verdicts, strict=True) if verdict.passed]


def find_files(data: Path) -> list[tuple[FunctionalSuite, Path]]:
    """The files below a folder, each with the suite that it belongs to."""
    available = datafiles.find(str(data))
    found = []
    for suite in PROBLEM_SUITES:
        found += [(suite, file.path) for file in suite.published.select(available)]
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one line for each file, and one for each solution that does not pass."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with the published files")
    parser.add_argument("--workers", type=int, help="programs run in parallel")
    parser.add_argument("--limits", action="store_true", help="measure what the references need")
    options = parser.parse_args(arguments)
    for suite, path in find_files(options.data):
        result = judge_file(suite, path, options.workers)
        print(
            f"{suite.name:<15} {path.name:<46} {result.passed} of {result.problems} pass, "
            f"{len(result.passed_empty)} with an empty answer, {result.seconds:.1f} s",
            flush=True,
        )
        for each in result.failed:
            print(f"    {each.name}: {each.reason}")
        for name in result.passed_empty:
            print(f"    {name}: passes with an empty answer")
        if options.limits:
            print_limits(suite, path, options.workers)


if __name__ == "__main__":
    main()
