"""The interface by which stages report their progress.

Stages call a :class:`Progress`. The command line implements it with rich; tests use
:data:`SILENT`. This module must not know about clocks and terminals.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Advance(Protocol):
    """Advances the bar of one task."""

    def __call__(self, amount: int, detail: str = "", total: int | None = None) -> None:
        """Add ``amount`` units; show ``detail`` beside the bar from now on.

        ``total`` is the task's new total, if that has changed.
        """
        ...


class Progress(Protocol):
    """A receiver of a stage's progress."""

    def task(
        self, label: str, total: int | None = None, unit: str = "items"
    ) -> AbstractContextManager[Advance]:
        """A bar named ``label``; the context manager yields the function that advances it.

        ``unit`` is ``"bytes"``, ``"files"``, ``"tokens"`` or another plural noun.
        """
        ...

    def note(self, line: str) -> None:
        """Print a permanent line."""
        ...


class _Silent:
    def task(
        self, label: str, total: int | None = None, unit: str = "items"
    ) -> AbstractContextManager[Advance]:
        return nullcontext(lambda amount, detail="", total=None: None)

    def note(self, line: str) -> None:
        return None


SILENT: Progress = _Silent()
"""Reports nothing."""
