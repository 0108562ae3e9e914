"""Finished groups of a long measurement, so that an interrupted one continues.

The items are cut into groups of a fixed size. A finished group is appended to the journal as one
line of JSON and synced; an incomplete last line is dropped. Group boundaries do not depend on where
a run was interrupted, so neither do the numbers. This module must not know what is measured.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from codeling import jsonl
from codeling.errors import storage_errors
from codeling.manifest import write_bytes
from codeling.progress import Progress

Item = TypeVar("Item")
Record = dict[str, Any]


class Journal:
    """The finished groups of the measurement named by ``identity``."""

    def __init__(self, path: Path, identity: str) -> None:
        """Read the finished groups; a journal of another measurement is overwritten.

        :raises StorageError: the file cannot be written.
        """
        self.path, self.identity = path, identity
        self.groups = list(_read_groups(path, identity))
        groups = [_group_line(number, group) for number, group in enumerate(self.groups)]
        write_bytes(path, b"".join([_line({"identity": identity}), *groups]))

    def append(self, records: Sequence[Record]) -> None:
        """Write the next group durably. :raises StorageError: it cannot be written."""
        line = _group_line(len(self.groups), records)
        with storage_errors(self.path), self.path.open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self.groups.append(json.loads(line)["records"])

    def records(self) -> Iterator[Record]:
        """Yield every record of every group, in order."""
        for group in self.groups:
            yield from group

    def map_groups(
        self,
        items: Sequence[Item],
        group_size: int,
        measure: Callable[[Sequence[Item]], Sequence[Record]],
        advance: Callable[[int], None] = lambda number: None,
    ) -> list[Record]:
        """Call ``measure`` on each unfinished group of ``items``; return the records of all groups.

        ``advance`` gets the number of items finished since its last call; items finished by an
        earlier run count in the first call.
        """
        finished = min(len(items), len(self.groups) * group_size)
        if finished:
            advance(finished)
        for start in range(finished, len(items), group_size):
            group = items[start : start + group_size]
            self.append(measure(group))
            advance(len(group))
        return list(self.records())

    def map_groups_with_bar(
        self,
        items: Sequence[Item],
        unit: str,
        group_size: int,
        measure: Callable[[Sequence[Item]], Sequence[Record]],
        progress: Progress,
    ) -> list[Record]:
        """:meth:`map_groups` with a progress bar; ``unit`` is a plural noun."""
        with progress.task(f"{len(items)} {unit}", len(items), unit) as advance:
            return self.map_groups(items, group_size, measure, advance)


def _read_groups(path: Path, identity: str) -> Iterator[list[Record]]:
    """Yield the whole groups of this measurement; none where the journal cannot be read."""
    try:
        lines = [values for _, values in jsonl.read_numbered(path)]
    except OSError:
        return
    if not lines or lines[0] != {"identity": identity}:
        return
    for number, values in enumerate(lines[1:]):
        if values is None or values.get("group") != number:
            return
        yield values["records"]


def _group_line(number: int, records: Sequence[Record]) -> bytes:
    return _line({"group": number, "records": list(records)})


def _line(values: Record) -> bytes:
    return json.dumps(values, ensure_ascii=False, sort_keys=True).encode("utf-8", "replace") + b"\n"
