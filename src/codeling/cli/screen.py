"""Progress on the terminal: a bar with rate and remaining time, and permanent lines.

All of it goes to standard error, so that standard output holds only results. A bar is a single
line at any width of the terminal: parts that do not fit are left out, the remaining time last.
rich's own columns wrap or truncate each other instead. Without a terminal there are no bars, only
plain lines: one when a task begins, then one every ten seconds.
"""

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task
from rich.table import Column
from rich.text import Text

from codeling.progress import Advance
from codeling.quantity import quantity

LINE_SECONDS = 10.0
"""Without a terminal, seconds between two lines of one task."""

_MIN_BAR, _MAX_BAR = 8, 40
_CONTROL = re.compile(r"[^\n\t\x20-\x7e\xa0-\U0010ffff]")


class Screen:
    """A :class:`codeling.progress.Progress` drawn with rich."""

    def __init__(self) -> None:
        # FORCE_COLOR, which notebooks set for every command, makes rich draw bars into a pipe.
        forced = None if sys.stderr.isatty() else False
        self._console = Console(stderr=True, highlight=False, force_terminal=forced)

    @contextmanager
    def task(self, label: str, total: int | None = None, unit: str = "items") -> Iterator[Advance]:
        """Show a bar until the task ends; without a terminal, print a line now and then."""
        if not self._console.is_terminal:
            self.note(f"{label} …")
            yield self._printed(label, total, unit)
            return
        columns = (SpinnerColumn(), _Line(self._console, unit))
        with Progress(*columns, console=self._console, transient=True) as bars:
            bar = bars.add_task(label, total=total, detail="")

            def advance(amount: int, detail: str = "", total: int | None = None) -> None:
                fields: dict[str, Any] = {"detail": detail} if detail else {}
                bars.update(bar, advance=amount, total=total, **fields)

            yield advance

    def _printed(self, label: str, total: int | None, unit: str) -> Advance:
        """Prints a line every :data:`LINE_SECONDS`, with the rate since the line before."""
        began = before = time.monotonic()
        completed, completed_before, goal = 0, 0, total

        def advance(amount: int, detail: str = "", total: int | None = None) -> None:
            nonlocal before, completed, completed_before, goal
            goal = total or goal
            completed += amount
            now = time.monotonic()
            if now - before < LINE_SECONDS:
                return
            rate = (completed - completed_before) / (now - before)
            parts = _parts(completed, goal, unit, rate, now - began, detail)
            self.note(f"{label}: {', '.join(filter(None, parts.values()))}")
            before, completed_before = now, completed

        return advance

    def note(self, line: str) -> None:
        """Print ``line`` above any bar; control characters of it appear as ``\\x1b``."""
        shown = _CONTROL.sub(lambda match: repr(match[0])[1:-1], line)
        self._console.print(Text(shown), soft_wrap=not self._console.is_terminal)


class _Line(ProgressColumn):
    """Everything of a task except the spinner."""

    max_refresh = 0.2

    def __init__(self, console: Console, unit: str) -> None:
        super().__init__(Column(no_wrap=True, overflow="ellipsis"))
        self._console = console
        self._unit = unit

    def render(self, task: Task) -> Text:
        return line(
            task.description,
            task.completed,
            task.total,
            self._unit,
            rate=task.finished_speed or task.speed,
            elapsed=task.elapsed or 0.0,
            detail=task.fields["detail"],
            width=self._console.width - 3,  # spinner, space, last column of the terminal
        )


def line(
    label: str,
    completed: float,
    total: float | None,
    unit: str,
    *,
    rate: float | None,
    elapsed: float,
    detail: str,
    width: int,
) -> Text:
    """One line of at most ``width`` cells: label, bar, amount, rate, detail, time.

    ``rate`` is in ``unit`` per second, ``elapsed`` in seconds. The time is the remaining time if
    it is known, otherwise the elapsed time. If the line is too long, the bar is left out first,
    then the amount, the detail, the rate and the time.
    """
    parts = _parts(completed, total, unit, rate, elapsed, detail)
    tail = "  ".join(part for part in parts.values() if part)
    for name in ("amount", "detail", "rate", "time"):
        if len(label) + 2 + len(tail) <= width:
            break
        parts[name] = ""
        tail = "  ".join(part for part in parts.values() if part)
    text = Text(label, no_wrap=True, overflow="ellipsis")
    space = width - len(label) - len(tail) - 3
    if total and space >= _MIN_BAR:
        length = min(space, _MAX_BAR)
        filled = min(length, int(length * completed / total))
        text.append(" ").append("━" * filled, "bar.complete")
        text.append("━" * (length - filled), "bar.back")
    text.append("  " if tail else "").append(tail, "progress.data.speed")
    text.truncate(max(1, width), overflow="ellipsis")
    return text


def _parts(
    completed: float,
    total: float | None,
    unit: str,
    rate: float | None,
    elapsed: float,
    detail: str,
) -> dict[str, str]:
    """The parts of a line after its label, in their order; some may be empty."""
    goal = "" if total is None else f" of {_amount(total, unit)}"
    amount = _amount(completed, "" if total and unit != "bytes" else unit) + goal
    speed = f"{_amount(rate, unit)}/s" if rate else ""
    if rate and rate < 1 and unit != "bytes":
        speed = f"{1 / rate:,.{0 if rate < 0.1 else 1}f} s/{_singular(unit)}"
    left = _clock(elapsed)
    if total is not None and rate:
        left = f"{_clock(max(0.0, total - completed) / rate)} left"
    return {"amount": amount, "rate": speed, "detail": detail, "time": left}


def _amount(value: float, unit: str) -> str:
    if unit == "bytes":
        return decimal(int(value))
    if not unit:
        return f"{value:,.0f}"
    return quantity(value, _singular(unit))


def _singular(unit: str) -> str:
    return re.sub("ies$", "y", unit).removesuffix("s")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
