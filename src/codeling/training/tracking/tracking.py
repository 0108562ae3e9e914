"""Sends the measurements of a run to its trackers, in a thread of its own.

A tracker cannot affect the training: one that fails, is missing or is offline is left out with a
note, and a slow one only makes its own queue longer. ``metrics.jsonl`` remains the complete record.
"""

import math
import queue
import secrets
import shutil
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

from codeling.manifest import write_bytes
from codeling.progress import Progress
from codeling.training.tracking.trackers import TRACKERS, TrackedRun, Tracker

FOLDER_NAME = "tracking"
_CLOSE_SECONDS = 30.0
"""Time that the trackers get at the end to write what is pending."""
_PREFIXES = {"step": "train", "validation": "validation"}
"""Kind of a line → prefix of its values' names."""


def tracked_values(line: Mapping[str, Any]) -> dict[str, float]:
    """The values of a line of ``metrics.jsonl`` as trackers get them: ``train/loss``.

    Empty for other lines. A value that is not finite is left out.
    """
    prefix = _PREFIXES.get(str(line["kind"]))
    if prefix is None:
        return {}
    return {
        f"{prefix}/{key}": value
        for key, value in line.items()
        if key != "step" and isinstance(value, int | float) and math.isfinite(value)
    }


def identify_run(run_folder: Path, step: int, settings: Mapping[str, Any]) -> TrackedRun:
    """The run as trackers know it. A run that starts gets a new id.

    :raises StorageError: the run folder cannot be written.
    """
    folder = run_folder / FOLDER_NAME
    path = folder / "id"
    if step == 0:
        shutil.rmtree(folder, ignore_errors=True)
    try:
        run_id = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        run_id = secrets.token_hex(4)
        folder.mkdir(exist_ok=True)
        write_bytes(path, f"{run_id}\n".encode())
    return TrackedRun(folder, run_folder.resolve().name, run_id, step, settings)


class Tracking:
    """The trackers of one run."""

    def __init__(self, names: Sequence[str], run: TrackedRun, progress: Progress) -> None:
        """Open the trackers ``names``; one that cannot be opened is noted."""
        self._progress = progress
        self._trackers: dict[str, Tracker] = {}
        self._lines: queue.SimpleQueue[Mapping[str, Any] | None] = queue.SimpleQueue()
        for name in dict.fromkeys(names):
            self._open(name, run)
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def log(self, line: Mapping[str, Any]) -> None:
        """Hand on a line of ``metrics.jsonl``; returns at once."""
        self._lines.put(dict(line))

    def close(self) -> None:
        """Wait until everything is written, for a limited time."""
        self._lines.put(None)
        with redirect_stdout(sys.stderr):
            self._thread.join(_CLOSE_SECONDS)
        if self._thread.is_alive():
            self._note(", ".join(self._trackers), "it did not take the last values in time")

    def _open(self, name: str, run: TrackedRun) -> None:
        try:
            with redirect_stdout(sys.stderr):  # standard output is the command's
                self._trackers[name] = TRACKERS[name](run)
        except ImportError:
            self._note(name, "it is not installed; pip install 'codeling[track]'")
        except Exception as error:
            self._note(name, error)

    def _work(self) -> None:
        while (line := self._lines.get()) is not None:
            if values := tracked_values(line):
                self._each(partial(_log, values=values, step=line["step"]))
        self._each(_close)

    def _each(self, call: Callable[[Tracker], None]) -> None:
        for name in list(self._trackers):
            self._call(name, call)

    def _call(self, name: str, call: Callable[[Tracker], None]) -> None:
        """Call a tracker; drop it if it fails."""
        try:
            call(self._trackers[name])
        except Exception as error:
            del self._trackers[name]
            self._note(name, error)

    def _note(self, name: str, reason: object) -> None:
        text = " ".join(str(reason).split())[:300] or type(reason).__name__
        self._progress.note(f"{name} does not track this run from here: {text}")


def _log(tracker: Tracker, values: Mapping[str, float], step: int) -> None:
    tracker.log(values, step)


def _close(tracker: Tracker) -> None:
    tracker.close()
