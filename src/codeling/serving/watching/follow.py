"""Follows the files of a run while another process writes them.

A log grows at its end. When a run is resumed, its log is replaced by a shorter one, without the
lines that will be written again. Only what is new is read. This module must not know HTTP.
"""

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from codeling import jsonl

MAX_POINTS = 1500
"""Steps of the past that are sent when a page opens; the others between them are left out."""
_NO_FILE = (-1, -1)

Event = dict[str, Any]


class LogTail:
    """The new lines of a growing JSON Lines file. An incomplete last line is read later."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity = _NO_FILE
        self._offset = 0

    def read(self) -> tuple[bool, list[Event]]:
        """Whether the file was replaced, and its new lines: all of them if it was."""
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                size, identity = status.st_size, (status.st_dev, status.st_ino)
                is_other = identity != self._identity or size < self._offset
                if is_other:
                    self._identity, self._offset = identity, 0
                file.seek(self._offset)
                data = file.read(size - self._offset)
        except FileNotFoundError:
            is_other = self._identity != _NO_FILE
            self._identity, self._offset = _NO_FILE, 0
            return is_other, []
        data = data[: data.rfind(b"\n") + 1]
        self._offset += len(data)
        return is_other, list(_objects(data.splitlines()))


class RunFollower:
    """The changes in a run folder since the last call, as events for a page."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._metrics = LogTail(folder / "metrics.jsonl")
        self._samples = LogTail(folder / "samples.jsonl")
        self._rows = _NO_FILE
        self._is_first = True

    def events(self) -> list[Event]:
        """New events in order.

        ``history`` replaces all points (also after a resume), ``points`` adds some, ``sample`` is
        the newest completion, ``rows`` are those of a late step.
        """
        found: list[Event] = []
        is_other, lines = self._metrics.read()
        if is_other or self._is_first:
            found.append({"kind": "history", "name": self._name, "lines": thinned(lines)})
        elif lines:
            found.append({"kind": "points", "lines": lines})
        self._is_first = False
        _, samples = self._samples.read()
        if samples:
            found.append({"kind": "sample", **samples[-1]})
        return found + self._new_rows()

    def age_seconds(self) -> float | None:
        """Time since the run last wrote a measurement; None before the first one."""
        try:
            return max(0.0, time.time() - (self._folder / "metrics.jsonl").stat().st_mtime)
        except FileNotFoundError:
            return None

    def _new_rows(self) -> list[Event]:
        path = self._folder / "last_step.json"
        try:
            status = path.stat()
            written = status.st_ino, status.st_mtime_ns
            if written == self._rows:
                return []
            self._rows = written
            return [{"kind": "rows", **values} for values in _objects([path.read_bytes()])]
        except FileNotFoundError:
            return []

    @property
    def _name(self) -> str:
        return self._folder.resolve().name


def thinned(lines: list[Event]) -> list[Event]:
    """All validations, and at most :data:`MAX_POINTS` steps, evenly spaced, with the last one."""
    steps = [index for index, line in enumerate(lines) if line.get("kind") == "step"]
    stride = -(-len(steps) // MAX_POINTS) or 1
    kept = set(steps[::-1][::stride])
    return [line for index, line in enumerate(lines) if line.get("kind") != "step" or index in kept]


def _objects(lines: Iterable[bytes]) -> Iterator[Event]:
    return (values for line in lines if (values := _object(line)) is not None)


def _object(line: bytes) -> Event | None:
    try:
        return jsonl.parse(line)
    except jsonl.LineError:
        return None
