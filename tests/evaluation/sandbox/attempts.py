"""What the tests of hostile programs share: to run one, and to see that it was kept from it."""

import textwrap

from codeling.evaluation.sandbox import Job, Sandbox, Verdict


def judged(sandbox: Sandbox, program: str, check: str, name: str = "attempt") -> Verdict:
    [verdict] = sandbox.judge([Job(name, textwrap.dedent(program), textwrap.dedent(check))])
    return verdict


def blocked(sandbox: Sandbox, program: str, error: str) -> None:
    """``attempt()`` ends in ``error``, one of Python's exceptions."""
    check = f"""
    try:
        got = attempt()
    except ({error}):
        got = 'blocked'
    assert got == 'blocked', got
    """
    verdict = judged(sandbox, program, check)
    assert verdict.passed, verdict
