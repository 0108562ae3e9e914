"""What a person sees while something runs: bars with rate and time left, and lines that stay.

Everything goes to standard error, so that standard output holds results alone. Where it is no
terminal, bars are left out and lines are plain.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from codeling.progress import Advance


class Screen:
    """A :class:`codeling.progress.Progress` drawn with rich."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)

    @contextmanager
    def task(self, label: str, total: int | None = None, unit: str = "items") -> Iterator[Advance]:
        """A bar that goes when the task ends, and a line where there is no terminal."""
        if not self._console.is_terminal:
            self.note(f"{label} …")
            yield lambda amount, detail="": None
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            _AmountColumn(unit),
            TextColumn("{task.fields[detail]}", style="dim"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console, transient=True) as bars:
            bar = bars.add_task(label, total=total, detail="")

            def advance(amount: int, detail: str = "") -> None:
                fields: dict[str, Any] = {"detail": detail} if detail else {}
                bars.update(bar, advance=amount, **fields)

            yield advance

    def note(self, line: str) -> None:
        """Print ``line`` as it is, above any bar."""
        self._console.print(Text(line))


class _AmountColumn(ProgressColumn):
    """How much of how much, and how much a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        amount = self._show(task.completed)
        if task.total is not None:
            amount += f" of {self._show(task.total)}"
        rate = task.finished_speed or task.speed
        speed = f"  {self._show(rate)}/s" if rate else ""
        return Text(amount + speed, style="progress.data.speed")

    def _show(self, value: float) -> str:
        if self._unit == "bytes":
            return decimal(int(value))
        return f"{value:,.0f} {self._unit}"
