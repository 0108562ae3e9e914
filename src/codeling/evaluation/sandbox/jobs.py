"""What is judged, within which limits, and what comes out: three records.

It must not know how a job is run. A job's ``program`` is whatever a model wrote and is never
trusted; its ``check`` is the problem's own test.
"""

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["passed", "failed", "timeout", "out_of_memory", "crashed", "refused", "broken"]
"""``passed``: the check ran to its end and the program was still there. ``failed``: an assertion
or another exception. ``timeout``: CPU or wall clock. ``out_of_memory``. ``crashed``: the program's
process ended, by a signal or by leaving. ``refused``: an answer too large or not understood.
``broken``: the check itself is no Python."""


@dataclass(frozen=True)
class Limits:
    """What one program may use. CPU time decides, so that a busy machine changes no verdict.

    :raises ValueError: for a limit that is not positive.
    """

    cpu_seconds: int = 3
    """Of all threads of the program; those of the check are counted apart. openai/human-eval
    allows 3 seconds of wall clock."""
    wall_seconds: float = 10.0
    """From the program's first line to the check's last."""
    memory_bytes: int = 1 << 30
    """Address space beyond that of the bare interpreter with the packages."""
    processes: int = 32
    """Threads of the program, its first included. It can start no process at all."""
    file_bytes: int = 16 << 20
    """Of one file."""
    output_bytes: int = 16 << 20
    """Of one answer to the check. What is printed is thrown away."""
    tmp_bytes: int = 64 << 20
    """Of all files in ``/tmp``, the only place that can be written."""

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
    """The checker's source, run afterwards. What it does not define itself and is no builtin is
    looked up in the program: ``assert mean([1, 2]) == 1.5``, or ``check(mean)``. The program
    cannot read it."""
    entry_point: str | None = None
    """A name that is taken from the program even where Python has a builtin of that name. The
    check may also call it ``candidate``: then it does not matter what names the check has."""


@dataclass(frozen=True)
class Verdict:
    """What came out of a :class:`Job`."""

    identifier: str
    outcome: Outcome
    detail: str
    """One line for people: the exception, the signal, the limit. Empty for ``passed``."""

    @property
    def passed(self) -> bool:
        """Whether the check ran to its end without objecting."""
        return self.outcome == "passed"
