"""What the sandbox judges, in which order, and what it says."""

import pytest

from codeling.evaluation.sandbox import Job, Limits, Sandbox

pytestmark = pytest.mark.usefixtures("sandbox")  # skips where none can start

CASES = {
    "right": ("def f(x): return x + 1", "assert f(1) == 2", "passed", ""),
    "wrong": ("def f(x): return x", "assert f(1) == 2", "failed", "AssertionError"),
    "raises": ("def f(x): return 1 / 0", "f(1)", "failed", "ZeroDivisionError"),
    "no Python": ("def f(x) return", "f(1)", "failed", "SyntaxError"),
    "nothing": ("", "f(1)", "failed", "name 'f' is not defined"),
    "loops": ("while True: pass", "f(1)", "timeout", "CPU time"),
    "check loops": ("def f(x): pass", "while True: pass", "timeout", "the check"),
    "check is broken": ("def f(x): pass", "assert f(", "broken", "not Python"),
    "segmentation fault": (
        "import ctypes\ndef f(x): ctypes.string_at(0)",
        "f(1)",
        "crashed",
        "SIGSEGV",
    ),
    "leaves": ("import os\ndef f(x): os._exit(0)", "f(1)", "crashed", "exit code 0"),
    "too much memory": ("def f(x): return bytes(10**10)", "f(1)", "out_of_memory", "MemoryError"),
    "answers too much": ("def f(x): return bytes(10**8)", "f(1)", "refused", "100000"),
    "in place": ("def f(x): x.sort()", "x = [2, 1]\nf(x)\nassert x == [1, 2]", "passed", ""),
    "calls back": ("def f(g): return g(4)", "assert f(lambda x: x + 1) == 5", "passed", ""),
}


@pytest.mark.parametrize("name", CASES)
def test_each_verdict_has_its_outcome_and_message(name: str, sandbox: Sandbox) -> None:
    program, check, outcome, words = CASES[name]
    [verdict] = sandbox.judge([Job(name, program, check)])
    assert (verdict.identifier, verdict.outcome) == (name, outcome), verdict
    assert words in verdict.detail
    assert "\n" not in verdict.detail


def test_verdicts_come_in_the_order_of_the_jobs(sandbox: Sandbox) -> None:
    slow = "import time\ntime.sleep(0.3)\ndef f(): return 1"
    jobs = [
        Job(str(i), slow if i % 5 == 0 else "def f(): return 1", "assert f() == 1")
        for i in range(12)
    ]
    verdicts = list(sandbox.judge(jobs))
    assert [verdict.identifier for verdict in verdicts] == [job.identifier for job in jobs]
    assert all(verdict.passed for verdict in verdicts)


def test_words_of_the_program_are_harmless_on_a_terminal(sandbox: Sandbox) -> None:
    program = "def f(): raise ValueError('\\x1b[2J\\n' + 'x' * 10**6)"
    [verdict] = sandbox.judge([Job("x", program, "f()")])
    assert verdict.outcome == "failed"
    assert verdict.detail.isprintable()
    assert len(verdict.detail) <= 1_000


def test_a_large_program_is_judged_and_the_others_continue(sandbox: Sandbox) -> None:
    long = "x = [\n" + "1, 2,\n" * 170_000 + "]\ndef f(): return len(x)\n"
    assert len(long) > 1_000_000
    good = Job("good", "def f(): return 1", "assert f() == 1")
    deep = "x = " + "(" * 100_000 + ")" * 100_000
    verdicts = list(
        sandbox.judge(
            [
                good,
                Job("long", long, "assert f() == 340_000"),
                Job("deep", deep, "pass"),
                Job("text", "x = '\ud800'\0", "pass"),
                Job("check", "x = 1", "while True: pass"),
                good,
            ]
        )
    )
    outcomes = [verdict.outcome for verdict in verdicts]
    assert outcomes[0] == outcomes[-1] == "passed"
    assert outcomes[1] in ("passed", "timeout")
    assert not {"passed"} & set(outcomes[2:-1])


COMBINATIONS = """
import itertools
def combinations(items, n): return list(itertools.combinations_with_replacement(items, n))
"""


def test_an_answer_of_few_different_strings_is_small() -> None:
    # The shape of MBPP+ 255, whose answer has 1.7 million tuples of 77 of 5 strings.
    check = f"{COMBINATIONS}expected = combinations(['Cat', 'Dog', 'Elephant'], 200)\n"
    check += "assert candidate(['Cat', 'Dog', 'Elephant'], 200) == expected\n"
    job = Job("255", COMBINATIONS, check, "combinations")
    limits = Limits(cpu_seconds=20, wall_seconds=60, output_bytes=8 << 20)
    with Sandbox(workers=1, limits=limits) as other:
        [verdict] = other.judge([job])
    assert verdict.passed, verdict  # 20,301 tuples: 4 MB, and 40 MB as single strings


def test_limits_are_positive() -> None:
    with pytest.raises(ValueError, match="cpu_seconds = 0 is not positive"):
        Limits(cpu_seconds=0)
