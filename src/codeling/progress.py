"""How long work says how far it is, without knowing who listens.

Stages call a :class:`Progress`; the command line draws it with rich, tests use
:data:`SILENT`. No clock and no terminal in here.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Advance(Protocol):
    """Moves the bar of one task."""

    def __call__(self, amount: int, detail: str = "") -> None:
        """``amount`` more units are done; ``detail`` is shown beside the bar from now on."""
        ...


class Progress(Protocol):
    """What a stage may say while it works."""

    def task(
        self, label: str, total: int | None = None, unit: str = "items"
    ) -> AbstractContextManager[Advance]:
        """A bar named ``label``; the value entered is called with how many more units are done.

        ``unit`` is ``"bytes"``, ``"files"``, ``"tokens"`` or another plural noun.
        """
        ...

    def note(self, line: str) -> None:
        """One line that stays on the screen."""
        ...


class _Silent:
    def task(
        self, label: str, total: int | None = None, unit: str = "items"
    ) -> AbstractContextManager[Advance]:
        return nullcontext(lambda amount, detail="": None)

    def note(self, line: str) -> None:
        return None


SILENT: Progress = _Silent()
"""Says nothing."""
