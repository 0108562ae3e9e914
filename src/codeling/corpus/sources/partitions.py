"""The input in partitions: runs of files and pieces of shards, each done and put down by itself.

A partition is what one task of the executor reads; its results are whole files in the work folder,
so a build that was killed goes on from the finished ones. Partitions stand in the corpus's
order: files of their own first (best rank, repository, path), then the rows of each source in
the recipe's order (shard, row). How the input is cut changes nothing in the outcome. This module
must not open what is listed.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from codeling.corpus.sources.files import SourceFile
from codeling.corpus.sources.shards import Piece, Shard

RUN_BYTES = 4_000_000
RUN_FILES = 256
"""A run of files is closed at this many bytes or files, whichever comes first."""


@dataclass(frozen=True)
class FileEntry:
    """One file of a run: what a task has to know of it."""

    repository: str
    path: str
    license: str
    url: str
    location: str
    num_bytes: int
    reason: str | None


@dataclass(frozen=True)
class Partition:
    """A run of files, or (where ``shard`` and ``piece`` are set) a piece of a shard."""

    number: int
    num_bytes: int
    files: tuple[FileEntry, ...] = ()
    shard: Shard | None = None
    piece: Piece | None = None

    def to_json(self) -> str:
        """As the executor hands it to a task; names that are not UTF-8 survive."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Partition":
        """What :meth:`to_json` wrote."""
        values: dict[str, Any] = json.loads(text)
        values["files"] = tuple(FileEntry(**entry) for entry in values["files"])
        values["shard"] = values["shard"] and Shard(**values["shard"])
        values["piece"] = values["piece"] and Piece(**values["piece"])
        return cls(**values)


def partitions(
    files: Sequence[SourceFile], shards: Iterable[tuple[Shard, Sequence[Piece]]]
) -> list[Partition]:
    """All of the input in its order, cut."""
    found = [
        Partition(number, sum(f.num_bytes for f in run), tuple(map(_entry, run)))
        for number, run in enumerate(_runs(files))
    ]
    for shard, pieces in shards:
        for piece in pieces:
            found.append(Partition(len(found), piece.num_bytes, (), shard, piece))
    return found


def _runs(files: Sequence[SourceFile]) -> Iterator[Sequence[SourceFile]]:
    start = num_bytes = 0
    for end, file in enumerate(files, start=1):
        num_bytes += file.num_bytes if file.drop_reason is None else 0
        if num_bytes >= RUN_BYTES or end - start == RUN_FILES or end == len(files):
            yield files[start:end]
            start, num_bytes = end, 0


def _entry(file: SourceFile) -> FileEntry:
    repository = file.repository
    return FileEntry(
        repository.name,
        file.path,
        repository.license,
        repository.url(file.path),
        file.location,
        file.num_bytes,
        file.drop_reason,
    )
