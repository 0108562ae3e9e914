"""Claim: planted problems are found, rewritten too, and hardly anything else is.

Every problem's solution is planted in a file of its own: as published; reformatted (without
comments and docstring, as ``ast.unparse`` writes it: other quotes, brackets, line breaks);
reformatted with every parameter and variable renamed; with the function renamed as well; and
the body alone. Counted is how often the problem is found. What stands beside the claim is the
limit: bodies shorter than a run of 24 tokens are not told from other code once the function's
name is gone.

Then files of the Python installed here are searched for all problems at once. What is found
there was written by somebody else, so it counts as found by mistake. The rate is beside that of
the floor, cutting the same text into words by one regular expression.

Run:  python -m benchmarks.corpus.decontaminate ../shared/data/human-eval/HumanEval.jsonl.gz …
"""

import argparse
import ast
import random
import re
import sysconfig
import time
from collections import Counter
from pathlib import Path

from codeling.corpus.decontamination.decontaminate import Contamination, Hit
from codeling.corpus.decontamination.problem_sets import Problem, read_problems

BATCH = 64
WORD = re.compile(r"\w+")


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def _renamed(text: str, functions: bool) -> str:
    """Parameters and what is assigned to get other names, functions too if asked."""
    tree = ast.parse(text)
    kept = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        name = ""
        if isinstance(node, ast.arg):
            name = node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            name = node.id
        elif functions and isinstance(node, ast.FunctionDef):
            name = node.name
        if name and (functions or name not in kept):
            names.setdefault(name, f"other_{len(names)}")
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.arg = names.get(node.arg, node.arg)
        elif isinstance(node, ast.Name):
            node.id = names.get(node.id, node.id)
        elif isinstance(node, ast.FunctionDef):
            node.name = names.get(node.name, node.name)
    return ast.unparse(tree)


def planted(problem: Problem) -> dict[str, str]:
    """The problem's first solution in every form; those that are no Python are left out."""
    solution = problem.solutions[0]
    forms = {"published": problem.prompt + solution, "body alone": solution}
    try:
        text = ast.unparse(_without_docstrings(ast.parse(problem.prompt + solution)))
        forms["reformatted"] = text
        forms["renamed"] = _renamed(text, functions=False)
        forms["function renamed too"] = _renamed(text, functions=True)
    except SyntaxError:
        pass
    return forms


def installed(count: int, seed: int) -> list[tuple[Path, str]]:
    """So many files of the installed Python, drawn."""
    paths = sysconfig.get_paths()
    found = sorted(
        {p for key in ("stdlib", "purelib", "platlib") for p in Path(paths[key]).rglob("*.py")}
    )
    random.Random(seed).shuffle(found)
    texts: list[tuple[Path, str]] = []
    for path in found:
        if len(texts) == count:
            break
        try:
            texts.append((path, path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError):
            continue
    return texts


def main() -> None:
    """Plant, search, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("problems", nargs="+", type=Path, help="problem sets, JSONL or JSONL.gz")
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=10, help="mistakes to list")
    arguments = parser.parse_args()
    sets = {path: read_problems(path) for path in arguments.problems}
    contamination = Contamination([problem for each in sets.values() for problem in each])
    for path, problems in sets.items():
        tried, found, missed = Counter[str](), Counter[str](), []
        for problem in problems:
            forms = planted(problem)
            files = [f"import os\n\n{text}\n\nprint(os.name)\n" for text in forms.values()]
            for form, hits in zip(forms, contamination.search(files), strict=True):
                tried[form] += 1
                is_found = any(hit.task_id == problem.task_id for hit in hits)
                found[form] += is_found
                if form == "reformatted" and not is_found:
                    missed.append(problem.task_id)
        counts = ", ".join(f"{form} {found[form]} of {tried[form]}" for form in tried)
        print(f"{path.name}: {len(problems)} problems; found: {counts}")
        print(f"  not found reformatted: {', '.join(missed) or 'none'}")
    texts = installed(arguments.files, arguments.seed)
    num_bytes = sum(len(text.encode("utf-8", "replace")) for _, text in texts)
    start = time.perf_counter()
    mistakes: list[tuple[Path, Hit]] = []
    for i in range(0, len(texts), BATCH):
        batch = texts[i : i + BATCH]
        for (file, _), each in zip(
            batch, contamination.search([text for _, text in batch]), strict=True
        ):
            mistakes += [(file, hit) for hit in each]
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    for _, text in texts:
        for _ in WORD.finditer(text):
            pass
    floor = time.perf_counter() - start
    ways = Counter(hit.found_by for _, hit in mistakes)
    num_files = len({file for file, _ in mistakes})
    print(
        f"{len(texts)} installed files, {num_bytes / 1e6:.0f} MB: {num_files} with "
        f"a hit ({dict(ways)}); {num_bytes / 1e6 / seconds:.1f} MB/s, floor "
        f"{num_bytes / 1e6 / floor:.1f} MB/s, {floor / seconds:.2f} of it"
    )
    for file, hit in mistakes[: arguments.show]:
        lines = f"lines {hit.start_line} to {hit.end_line}"
        print(f"  {hit.task_id} by {hit.found_by}: {file.name}, {lines}")


if __name__ == "__main__":
    main()
