"""The trackers that a run can be logged to, each through its own library (extra ``[track]``).

A resumed run gives a tracker all its steps again, with the same values: a killed process may have
lost the last ones. A tracker leaves out those that it has. This module must not know when something
is logged.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from codeling.errors import UsageError

PROJECT = "codeling"
_INIT_SECONDS = 30
"""Time that wandb gets to answer at the start of a run."""


class TrackedRun(NamedTuple):
    """A run as a tracker knows it."""

    folder: Path
    """``tracking/`` in the run folder."""
    name: str
    id: str
    """Random, and the same after a resume."""
    step: int
    """Steps that the run continues after; 0: it starts."""
    settings: Mapping[str, Any]


class Tracker(Protocol):
    """One tracker; its calls may raise anything."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Add the values of one step."""

    def close(self) -> None:
        """Write what is pending."""


class TensorBoardTracker:
    """Event files in ``tracking/tensorboard/``."""

    def __init__(self, run: TrackedRun) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # With this, TensorBoard forgets all steps of the earlier files.
        purge_step = 1 if run.step else None
        self._writer = SummaryWriter(str(run.folder / "tensorboard"), purge_step=purge_step)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """See :class:`Tracker`."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """See :class:`Tracker`."""
        self._writer.close()


class WandbTracker:
    """Weights & Biases; offline, in ``tracking/wandb/``, unless the person has logged in."""

    def __init__(self, run: TrackedRun) -> None:
        import wandb

        is_offline = "WANDB_MODE" not in os.environ and not wandb.api.api_key
        self._run = wandb.init(
            project=PROJECT,
            name=run.name,
            id=run.id,
            resume="allow",
            dir=str(run.folder),
            config=dict(run.settings),
            mode="offline" if is_offline else None,
            # Only what is logged here: no output, code, or state of a repository.
            settings=wandb.Settings(
                console="off",
                save_code=False,
                disable_git=True,
                silent=True,
                init_timeout=_INIT_SECONDS,
            ),
        )
        self._next_step = int(self._run.step)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """See :class:`Tracker`."""
        if step >= self._next_step:
            self._run.log(dict(values), step=step)

    def close(self) -> None:
        """See :class:`Tracker`."""
        self._run.finish()


class TrackioTracker:
    """Trackio, in its own folder (``TRACKIO_DIR``); ``trackio show`` opens it."""

    def __init__(self, run: TrackedRun) -> None:
        import trackio

        self._run = trackio.init(
            project=PROJECT,
            name=f"{run.name}-{run.id}",
            config=dict(run.settings),
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        # What Trackio would count on from; it has no public name. The step before is logged again:
        # a killed run may not have got to its validation.
        self._next_step = int(getattr(self._run, "_next_step", 0)) - 1 if run.step else 0

    def log(self, values: Mapping[str, float], step: int) -> None:
        """See :class:`Tracker`."""
        if step >= self._next_step:
            self._run.log(dict(values), step=step)

    def close(self) -> None:
        """See :class:`Tracker`."""
        self._run.finish()


TRACKERS: Mapping[str, Callable[[TrackedRun], Tracker]] = {
    "tensorboard": TensorBoardTracker,
    "wandb": WandbTracker,
    "trackio": TrackioTracker,
}
"""By the name that ``training.track`` takes."""


def check_installed(names: Iterable[str]) -> None:
    """:raises UsageError: the library of one of these trackers is missing."""
    for name in names:
        if find_spec(name) is None:
            raise UsageError(
                f"[training] track: {name} is not installed; pip install 'codeling[track]'"
            )
