"""What of a long measurement is done, kept so that a killed one goes on from there.

Work is cut into groups in a fixed way, and a group is written once it is whole: one line of JSON,
appended and synced. A torn last line is dropped. The groups do not depend on where a run was
stopped, so neither do the numbers. This module must not know what is measured.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from codeling.errors import storage_errors
from codeling.manifest import write_bytes
from codeling.progress import Progress

Item = TypeVar("Item")
Record = dict[str, Any]


class Journal:
    """The groups of one measurement that are done. ``identity`` says which measurement it is."""

    def __init__(self, path: Path, identity: str) -> None:
        """Read what is there; what belongs to another measurement is written over.

        :raises StorageError: it cannot be written.
        """
        self.path, self.identity = path, identity
        self.groups: list[list[Record]] = []
        kept = [json.dumps({"identity": identity}).encode()]
        for number, line in enumerate(_whole_lines(path)):
            values = _parsed(line)
            if number == 0:
                if values != {"identity": identity}:
                    break
            elif values is None or values.get("group") != number - 1:
                break
            else:
                self.groups.append(values["records"])
                kept.append(line)
        write_bytes(path, b"".join(line + b"\n" for line in kept))

    def append(self, records: Sequence[Record]) -> None:
        """Write the next group, durably. :raises StorageError: it cannot be written."""
        values = {"group": len(self.groups), "records": list(records)}
        line = json.dumps(values, ensure_ascii=False, sort_keys=True).encode("utf-8", "replace")
        with storage_errors(self.path), self.path.open("ab") as file:
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self.groups.append(json.loads(line)["records"])

    def records(self) -> Iterator[Record]:
        """Every record of every group, in order."""
        for group in self.groups:
            yield from group

    def work(
        self,
        items: Sequence[Item],
        group_size: int,
        do: Callable[[Sequence[Item]], Sequence[Record]],
        done: Callable[[int], None] = lambda number: None,
    ) -> list[Record]:
        """``do`` every group of ``items`` that is not done; the records of all of them.

        ``done`` is told how many items are done, at once for those that were before.
        """
        finished = min(len(items), len(self.groups) * group_size)
        if finished:
            done(finished)
        for start in range(finished, len(items), group_size):
            group = items[start : start + group_size]
            self.append(do(group))
            done(len(group))
        return list(self.records())

    def work_with_bar(
        self,
        items: Sequence[Item],
        unit: str,
        group_size: int,
        do: Callable[[Sequence[Item]], Sequence[Record]],
        progress: Progress,
    ) -> list[Record]:
        """:meth:`work` that ``progress`` shows, in ``unit`` (a plural)."""
        with progress.task(f"{len(items)} {unit}", len(items), unit) as advance:
            return self.work(items, group_size, do, advance)


def _whole_lines(path: Path) -> list[bytes]:
    """The lines that end in a line feed."""
    try:
        return path.read_bytes().split(b"\n")[:-1]
    except OSError:
        return []


def _parsed(line: bytes) -> Record | None:
    try:
        values = json.loads(line)
    except ValueError:
        return None
    return values if isinstance(values, dict) else None
