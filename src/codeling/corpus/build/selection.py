"""What can only be decided with all documents known: which are kept, and in which split.

Works on the survey's compact records, columns of numbers and 16-byte digests, never on texts:
some 60 bytes a document and the names of the repositories. The steps in their order: exact
copies (the first in the corpus's order is kept), near-copies, the split by repository. A step that
drops documents is a function of :class:`Records` that calls :meth:`Records.drop`; one that finds
repositories which belong together gives pairs of projects to
:func:`codeling.corpus.build.split.assign`.
This module must not read documents.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from codeling.corpus.build import split
from codeling.corpus.build.tasks import CHOSEN_SCHEMA, work_file
from codeling.corpus.dedup import exact, minhash, near_duplicates
from codeling.corpus.document import SPLITS
from codeling.corpus.sources.partitions import Partition
from codeling.recipe import CodeSearchNet, CorpusRecipe

PROBLEMS_PER_REASON = 1_000
"""The report names so many rows for each reason; the counts are of all."""
_NUMBERS = ("reason", "found_bytes", "num_bytes", "digest", "python3", "copies", "split")

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass
class Records:
    """The survey of every document, in the corpus's order, as columns of length N."""

    partitions: Sequence[Partition]
    offsets: Integers
    """(P + 1,): the first document of every partition, and N."""
    is_function: Flags
    """The document is a row of functions; files and functions are compared among themselves."""
    repositories: Integers
    """Index into ``repository_names``."""
    repository_names: Sequence[str]
    found_bytes: Integers
    num_bytes: Integers
    """Of the text in UTF-8."""
    digests: exact.Digests
    python3: Flags
    copies: Integers
    """How many documents each one stands for, as published."""
    published: npt.NDArray[np.int8]
    """Index into ``SPLITS``, or -1."""
    reasons: npt.NDArray[np.int16]
    """Index into ``reason_names``, or -1 where it is kept so far."""
    reason_names: list[str]
    problems: list[dict[str, Any]] = field(default_factory=list)
    """Rows at fault: ``file``, ``row`` (null for all of a shard), ``reason``, ``detail``."""
    contamination: list[dict[str, Any]] = field(default_factory=list)
    """Problems found in documents."""

    @property
    def kept(self) -> Flags:
        """The documents that nothing has dropped."""
        return self.reasons < 0

    def drop(self, which: Flags, reason: str) -> None:
        """Drop the documents of a mask (N,); those that are out already keep their reason."""
        if reason not in self.reason_names:
            self.reason_names.append(reason)
        self.reasons[which & self.kept] = self.reason_names.index(reason)


@dataclass(frozen=True)
class Decisions:
    """What the extraction is told, and what the report says of the split."""

    splits: npt.NDArray[np.int8]
    """(N,): index into ``SPLITS``, or -1."""
    copies: Integers
    """(N,): how many documents have the content of a kept one."""
    split_by: str


def load(partitions: Sequence[Partition], recipe: CorpusRecipe, folder: Path) -> Records:
    """The records that the survey left in the work folder."""
    reasons, repositories = _Names(), _Names()
    columns: dict[str, list[Any]] = {name: [] for name in ("reasons", "repositories", *_NUMBERS)}
    offsets, is_function, problems = [0], [], _Problems()
    contamination: list[dict[str, Any]] = []
    for partition in partitions:
        with pa.memory_map(str(work_file(folder, "survey", partition.number))) as file:
            table = pa.ipc.open_file(file).read_all()
        offsets.append(offsets[-1] + table.num_rows)
        shard = partition.shard
        functions = shard is not None and isinstance(recipe.sources[shard.source], CodeSearchNet)
        is_function.append(np.full(table.num_rows, functions))
        columns["reasons"].append(reasons.numbers(table.column("reason")).astype(np.int16))
        columns["repositories"].append(repositories.numbers(table.column("repository")))
        for name in ("found_bytes", "num_bytes", "copies", "python3"):
            columns[name].append(table.column(name).to_numpy())
        digests = table.column("digest").fill_null(bytes(exact.DIGEST_BYTES))
        columns["digest"].append(exact.to_array(b"".join(digests.to_pylist())))
        published = pc.index_in(table.column("split"), pa.array(SPLITS)).fill_null(-1)
        columns["split"].append(published.to_numpy().astype(np.int8))
        problems.add(partition, table)
        contamination += _hits(table)

    def whole(name: str, kind: Any) -> Any:
        return np.concatenate(columns[name]).astype(kind, copy=False)

    return Records(
        partitions=partitions,
        offsets=np.array(offsets),
        is_function=np.concatenate(is_function),
        repositories=whole("repositories", np.int64),
        repository_names=repositories.names,
        found_bytes=whole("found_bytes", np.int64),
        num_bytes=whole("num_bytes", np.int64),
        digests=whole("digest", np.uint64),
        python3=whole("python3", bool),
        copies=whole("copies", np.int64),
        published=whole("split", np.int8),
        reasons=whole("reasons", np.int16),
        reason_names=reasons.names,
        problems=problems.found,
        contamination=contamination,
    )


def decide(
    records: Records, recipe: CorpusRecipe, projects: Mapping[str, str], folder: Path
) -> Decisions:
    """Take the steps. ``projects``: repository → project, where it is not the same."""
    copies, origins = _drop_copies(records)
    together = []
    if recipe.near_duplicates.enabled:
        _drop_near_copies(records, origins, recipe.near_duplicates.threshold, folder)
        together = _forks(records, origins, projects)
    splits = np.where(records.kept, _published(records, recipe), np.int8(-1)).astype(np.int8)
    rest = np.flatnonzero(records.kept & (splits < 0))
    split_by = "published"
    if len(rest) or not records.kept.any():
        assigned = split.assign(
            [_project(records, projects, i) for i in rest.tolist()],
            records.num_bytes[rest].tolist(),
            _paths(records, rest, folder),
            recipe.validation_share,
            recipe.test_share,
            recipe.seed,
            together,
        )
        splits[rest] = np.array([SPLITS.index(name) for name in assigned.splits], np.int8)
        split_by = assigned.by
    return Decisions(splits, copies, split_by)


def save(records: Records, decisions: Decisions, folder: Path) -> list[Partition]:
    """Tell the extraction what is chosen; the partitions that have any of it."""
    with_any = []
    for partition in records.partitions:
        run = slice(records.offsets[partition.number], records.offsets[partition.number + 1])
        if not records.kept[run].any():
            continue
        values = [decisions.splits[run], decisions.copies[run], records.python3[run]]
        path = work_file(folder, "chosen", partition.number)
        with pa.ipc.new_file(str(path), CHOSEN_SCHEMA) as writer:
            writer.write_batch(pa.record_batch(list(map(pa.array, values)), schema=CHOSEN_SCHEMA))
        with_any.append(partition)
    return with_any


def _drop_copies(records: Records) -> tuple[Integers, Integers]:
    """Of equal documents the first is kept (``duplicate``).

    Gives how many each kept one stands for, and for each document the first that it equals.
    """
    total = np.zeros(len(records.kept), np.int64)
    origins = np.arange(len(records.kept))
    for kind in (records.is_function, ~records.is_function):
        chosen = np.flatnonzero(records.kept & kind)
        first, copies = exact.first_copies(records.digests[chosen], records.copies[chosen])
        total[chosen] = copies
        origins[chosen] = chosen[exact.origins(records.digests[chosen])]
        again = np.zeros(len(records.kept), bool)
        again[chosen[~first]] = True
        records.drop(again, "duplicate")
    return total, origins


def _drop_near_copies(records: Records, origins: Integers, threshold: float, folder: Path) -> None:
    """Of near-copies the first is kept (``near_duplicate``); ``origins`` are led on to it."""
    for kind in (records.is_function, ~records.is_function):
        chosen = np.flatnonzero(records.kept & kind)
        sketches = _sketches(records, chosen, folder)
        first = near_duplicates.clusters(sketches, folder / "sketches", threshold)
        origins[chosen] = chosen[first]
        again = np.zeros(len(records.kept), bool)
        again[chosen[first != np.arange(len(first))]] = True
        records.drop(again, "near_duplicate")
    origins[:] = origins[origins]


def _sketches(records: Records, wanted: Integers, folder: Path) -> Iterator[npt.NDArray[np.uint8]]:
    """The sketches of the documents at ``wanted``, a partition at a time."""
    for partition, rows in _partitions_of(records, wanted):
        with pa.memory_map(str(work_file(folder, "survey", partition.number))) as file:
            column = pa.ipc.open_file(file).read_all().column("sketch")
        data = b"".join(column.take(pa.array(rows)).to_pylist())
        yield np.frombuffer(data, np.uint8).reshape(-1, minhash.SKETCH_BYTES)


def _forks(
    records: Records, origins: Integers, projects: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Pairs of projects, of which one is a fork; asked of what is kept and of its copies."""
    names = [projects.get(name, name) for name in records.repository_names]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    whole = records.kept | (origins != np.arange(len(origins)))
    places = np.flatnonzero(whole)
    owners = np.array([numbers[name] for name in names], np.int64)[records.repositories[places]]
    pairs = near_duplicates.forks(np.searchsorted(places, origins[places]), owners)
    ordered = list(numbers)
    return [(ordered[one], ordered[other]) for one, other in pairs.tolist()]


def _hits(table: pa.Table) -> Iterator[dict[str, Any]]:
    """The problems that the survey of a partition found."""
    for row in table.filter(pc.is_valid(table.column("hits"))).to_pylist():
        for task_id, found_by, start, end in json.loads(row["hits"]):
            yield {
                "problem": task_id,
                "found_by": found_by,
                "repository": row["repository"],
                "path": row["path"],
                "start_line": start,
                "end_line": end,
            }


def _published(records: Records, recipe: CorpusRecipe) -> npt.NDArray[np.int8]:
    """The published split of the documents whose source keeps it, else -1."""
    splits = np.full(len(records.kept), -1, np.int8)
    for partition in records.partitions:
        source = recipe.sources[partition.shard.source] if partition.shard else None
        if isinstance(source, CodeSearchNet) and source.split == "published":
            run = slice(records.offsets[partition.number], records.offsets[partition.number + 1])
            splits[run] = records.published[run]
    return splits


def _project(records: Records, projects: Mapping[str, str], position: int) -> str:
    name = records.repository_names[records.repositories[position]]
    return projects.get(name, name)


def _paths(records: Records, wanted: Integers, folder: Path) -> Callable[[], Sequence[str]]:
    """The paths of the documents at ``wanted``, read when they are asked for."""

    def read() -> Sequence[str]:
        found: list[str] = []
        for partition, rows in _partitions_of(records, wanted):
            with pa.memory_map(str(work_file(folder, "survey", partition.number))) as file:
                paths = pa.ipc.open_file(file).read_all().column("path")
            found += paths.take(pa.array(rows)).to_pylist()
        return found

    return read


def _partitions_of(records: Records, wanted: Integers) -> Iterator[tuple[Partition, Integers]]:
    """The partitions that the ascending ``wanted`` stand in, and their rows there."""
    for partition in records.partitions:
        first, last = records.offsets[partition.number : partition.number + 2]
        begin, end = np.searchsorted(wanted, [first, last])
        if begin < end:
            yield partition, wanted[begin:end] - first


class _Names:
    """Numbers for names, in the order in which they are met."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}

    def numbers(self, column: pa.ChunkedArray) -> Integers:
        """The number of every value; -1 for null."""
        encoded = column.combine_chunks().dictionary_encode()
        table = []
        for name in encoded.dictionary.to_pylist():
            if name not in self._numbers:
                self._numbers[name] = len(self.names)
                self.names.append(name)
            table.append(self._numbers[name])
        indices = encoded.indices.fill_null(-1).to_numpy()
        numbers: Integers = np.array([*table, -1], np.int64)[indices]
        return numbers


class _Problems:
    """The rows that the input is at fault for, so many of each reason."""

    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []
        self._number: dict[str, int] = {}

    def add(self, partition: Partition, table: pa.Table) -> None:
        """Those among the survey of a partition."""
        names = ["row", "path", "reason", "detail"]
        for row in table.filter(pc.is_valid(table.column("detail"))).select(names).to_pylist():
            reason = row["reason"]
            self._number[reason] = self._number.get(reason, 0) + 1
            if self._number[reason] <= PROBLEMS_PER_REASON:
                file = partition.shard.name if partition.shard else row["path"]
                self.found.append(
                    {"file": file, "row": row["row"], "reason": reason, "detail": row["detail"]}
                )
