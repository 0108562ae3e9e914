"""A program to judge, its limits, and the verdict.

A job's ``program`` is what a model wrote and is never trusted. Its ``check`` is the problem's own
test. This module must not know how a job is run.
"""

from dataclasses import dataclass
from typing import Literal

Outcome = Literal[
    "passed", "failed", "unjudged", "timeout", "out_of_memory", "crashed", "refused", "broken"
]
"""``passed``: the check ran to its end and the program was still running. ``failed``: an assertion
or another exception. ``unjudged``: the check needs an object or a decision of the program that
cannot cross the process boundary safely, so the answer may be right. ``timeout``: CPU time or
wall clock. ``out_of_memory``. ``crashed``: the program's process ended, by a signal or an exit.
``refused``: a message that is too large or not valid. ``broken``: the check is not Python."""


@dataclass(frozen=True)
class Limits:
    """Limits of one program. CPU time decides, so that a busy machine changes no verdict.

    :raises ValueError: a limit is not positive.
    """

    cpu_seconds: int = 3
    """Of all threads of the program; the check's are counted separately. openai/human-eval allows
    3 seconds of wall clock."""
    wall_seconds: float = 10.0
    """From the program's first line to the check's last."""
    memory_bytes: int = 1 << 30
    """Address space beyond that of the interpreter with the packages loaded. All of HumanEval's
    solutions pass with 32 MiB (``benchmarks/evaluation/references.py --limits``); EvalPlus's need
    more."""
    processes: int = 32
    """Threads of the program, including its first. It cannot start any process."""
    file_bytes: int = 16 << 20
    """Of one file."""
    output_bytes: int = 16 << 20
    """Of one answer to the check, including what it captures of the program's output."""
    tmp_bytes: int = 64 << 20
    """Of all files in ``/tmp``, the only writable folder."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"{name} = {value} is not positive")


@dataclass(frozen=True)
class Job:
    """A program and the check that decides about it."""

    identifier: str
    program: str
    """The candidate's whole source. It is run first, in a process of its own."""
    check: str
    """The test's source, run afterwards. A name that it does not define, and that is not a
    builtin, is looked up in the program: ``assert mean([1, 2]) == 1.5``, or ``check(mean)``. The
    program cannot read it."""
    entry_point: str | None = None
    """A name that is taken from the program even if Python has a builtin of that name. The check
    may also call it ``candidate``, whatever names it defines itself."""


@dataclass(frozen=True)
class Verdict:
    """The result of a :class:`Job`."""

    identifier: str
    outcome: Outcome
    detail: str
    """One line for people: the exception, the signal, the limit. Empty for ``passed``."""

    @property
    def passed(self) -> bool:
        """Whether the check ran to its end. The only outcome that counts as right."""
        return self.outcome == "passed"

    @property
    def judged(self) -> bool:
        """False where the sandbox cannot decide. A reference solution shows it for a problem."""
        return self.outcome != "unjudged"
