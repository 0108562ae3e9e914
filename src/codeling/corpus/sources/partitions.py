"""Cuts the input into partitions: runs of files, and pieces of shards.

One task of the executor reads one partition and leaves its results as whole files in the work
folder, so an interrupted build continues from the finished ones. Partitions are in the corpus's
order: files first (rank, repository, path), then the rows of each source in the recipe's order
(shard, row). The size of partitions does not change the corpus. This module must not open files.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from codeling.corpus.sources.files import SourceFile
from codeling.corpus.sources.pieces import Piece
from codeling.corpus.sources.shards import Shard

RUN_BYTES = 4_000_000
RUN_FILES = 256
"""A run of files is closed at this many bytes or files, whichever comes first."""


@dataclass(frozen=True)
class FileEntry:
    """One file of a run, as a task needs it."""

    repository: str
    path: str
    license: str
    url: str
    location: str
    num_bytes: int
    reason: str | None
    split: str | None


@dataclass(frozen=True)
class Partition:
    """A run of files, or a piece of a shard where ``shard`` and ``piece`` are set."""

    number: int
    num_bytes: int
    files: tuple[FileEntry, ...] = ()
    shard: Shard | None = None
    piece: Piece | None = None

    @property
    def name(self) -> str:
        """Position of its first document, for messages."""
        if self.shard is not None and self.piece is not None:
            return f"{self.shard.name}#{self.piece.first_row}"
        return self.files[0].path if self.files else ""

    def to_json(self) -> str:
        """Serialize for a task; file names that are not UTF-8 survive."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Partition":
        """Deserialize the result of :meth:`to_json`."""
        values: dict[str, Any] = json.loads(text)
        values["files"] = tuple(FileEntry(**entry) for entry in values["files"])
        values["shard"] = values["shard"] and Shard(**values["shard"])
        values["piece"] = values["piece"] and Piece(**values["piece"])
        return cls(**values)


def make_partitions(
    files: Sequence[SourceFile], shards: Iterable[tuple[Shard, Sequence[Piece]]]
) -> list[Partition]:
    """Cut the whole input, in its order."""
    partitions = [
        Partition(number, sum(f.num_bytes for f in run), tuple(map(_entry, run)))
        for number, run in enumerate(_runs(files))
    ]
    for shard, pieces in shards:
        for piece in pieces:
            partitions.append(Partition(len(partitions), piece.num_bytes, (), shard, piece))
    return partitions


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
        file.split,
    )
