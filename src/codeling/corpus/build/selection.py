"""Selection: decides, with all documents known, which are kept and in which split.

Works on the survey's compact rows, columns of numbers and 16-byte digests, never on texts: about
60 bytes per document, the names of the repositories, and the fingerprints of the held-out
documents. Steps in order: exact copies (the first in the corpus's order is kept), near-duplicates,
split, passages shared with train, the number to take. A step that drops documents is a function of
:class:`Records` that calls :meth:`Records.drop`; one that links repositories returns pairs of
projects for :func:`codeling.corpus.build.split.assign`. This module must not read documents.
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

from codeling.corpus.build import shuffle, split
from codeling.corpus.build.work_folder import CHOSEN_SCHEMA, work_file
from codeling.corpus.dedup import exact, minhash, near_duplicates, shared_passages
from codeling.corpus.document import SPLITS
from codeling.corpus.sources.partitions import Partition
from codeling.recipe import CodeSearchNet, CorpusRecipe

PROBLEMS_PER_REASON = 1_000
"""Maximum number of rows per reason that the report lists; its counts cover all."""
_NUMBERS = (
    "reason",
    "found_bytes",
    "num_bytes",
    "digest",
    "python3",
    "copies",
    "split",
    "has_keyword",
)

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass
class Records:
    """The survey of all N documents in the corpus's order, as columns (N,)."""

    partitions: Sequence[Partition]
    offsets: Integers
    """(P + 1,): first document of each of P partitions, then N."""
    is_function: Flags
    """The document is a function; copies are found among files and among functions."""
    repositories: Integers
    """Index into ``repository_names``."""
    repository_names: Sequence[str]
    found_bytes: Integers
    num_bytes: Integers
    """Of the text in UTF-8."""
    digests: exact.Digests
    python3: Flags
    copies: Integers
    """Number of documents that each one represents, as published."""
    given: npt.NDArray[np.int8]
    """Split that the source gives: index into ``SPLITS``, or -1."""
    has_keyword: npt.NDArray[np.int8]
    """1 and 0 for files that were searched, else -1."""
    reasons: npt.NDArray[np.int16]
    """Index into ``reason_names``, or -1 while it is kept."""
    reason_names: list[str]
    problems: list[dict[str, Any]] = field(default_factory=list)
    """Bad input: ``file``, ``row`` (None for a whole shard), ``reason``, ``detail``."""
    contamination: list[dict[str, Any]] = field(default_factory=list)
    """Benchmark problems found in documents."""

    @property
    def kept(self) -> Flags:
        """(N,): not dropped so far."""
        return self.reasons < 0

    def drop(self, which: Flags, reason: str) -> None:
        """Drop the documents of a mask (N,); those dropped before keep their first reason."""
        if reason not in self.reason_names:
            self.reason_names.append(reason)
        self.reasons[which & self.kept] = self.reason_names.index(reason)


@dataclass(frozen=True)
class Decisions:
    """The chosen documents and their splits."""

    splits: npt.NDArray[np.int8]
    """(N,): index into ``SPLITS``, or -1."""
    copies: Integers
    """(N,): number of documents with the content of a kept one."""
    split_by: str
    """``repository``, ``file`` or ``published``."""
    split_rule: str
    shared_with_train: Mapping[str, float]
    """``validation`` and ``test``: share of the tokens in passages that train has as well."""


def load(partitions: Sequence[Partition], recipe: CorpusRecipe, folder: Path) -> Records:
    """Load the rows that the survey left in the work folder."""
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
        given = pc.index_in(table.column("split"), pa.array(SPLITS)).fill_null(-1)
        columns["split"].append(given.to_numpy().astype(np.int8))
        columns["has_keyword"].append(
            table.column("has_keyword").cast(pa.int8()).fill_null(-1).to_numpy()
        )
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
        given=whole("split", np.int8),
        has_keyword=whole("has_keyword", np.int8),
        reasons=whole("reasons", np.int16),
        reason_names=reasons.names,
        problems=problems.found,
        contamination=contamination,
    )


def decide(
    records: Records, recipe: CorpusRecipe, projects: Mapping[str, str], folder: Path
) -> Decisions:
    """Run the steps. ``projects`` maps a repository to its project where the names differ."""
    copies, origins = _drop_copies(records)
    linked = []
    if recipe.near_duplicates.enabled:
        _drop_near_duplicates(records, origins, recipe.near_duplicates.threshold, folder)
        linked = _forks(records, origins, projects)
    splits = np.where(records.kept, records.given, np.int8(-1)).astype(np.int8)
    given = {SPLITS[number] for number in np.unique(splits[splits >= 0])}
    rest = np.flatnonzero(records.kept & (splits < 0))
    split_by, rule = "published", split.PUBLISHED_RULE
    if len(rest) or not records.kept.any():
        assigned = split.assign(
            [_project(records, projects, i) for i in rest.tolist()],
            records.num_bytes[rest].tolist(),
            _paths(records, rest, folder),
            0.0 if "validation" in given else recipe.validation_share,
            0.0 if "test" in given else recipe.test_share,
            recipe.seed,
            linked,
        )
        splits[rest] = np.array([SPLITS.index(name) for name in assigned.splits], np.int8)
        split_by, rule = assigned.by, assigned.rule
        if given:
            rule = f"documents with a published split {split.PUBLISHED_RULE}; others: {rule}"
    shared = _drop_shared_with_train(records, splits, recipe.max_shared_with_train, folder)
    if _take(records, splits, recipe):
        shared = _SharedTokens(records, splits, folder).share_left(splits)
    return Decisions(splits, copies, split_by, rule, shared)


def save(records: Records, decisions: Decisions, folder: Path) -> list[Partition]:
    """Write the choices for the extraction; return the partitions with a chosen document."""
    with_choices = []
    for partition in records.partitions:
        run = slice(records.offsets[partition.number], records.offsets[partition.number + 1])
        if not records.kept[run].any():
            continue
        values = [decisions.splits[run], decisions.copies[run], records.python3[run]]
        path = work_file(folder, "chosen", partition.number)
        with pa.ipc.new_file(str(path), CHOSEN_SCHEMA) as writer:
            writer.write_batch(pa.record_batch(list(map(pa.array, values)), schema=CHOSEN_SCHEMA))
        with_choices.append(partition)
    return with_choices


def _drop_copies(records: Records) -> tuple[Integers, Integers]:
    """Drop all but the first of equal documents (``duplicate``).

    Returns (N,) the number of copies of each kept document, and (N,) the index of the first equal
    document.
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


def _drop_near_duplicates(
    records: Records, origins: Integers, threshold: float, folder: Path
) -> None:
    """Drop all but the first of near-duplicates (``near_duplicate``); ``origins`` then name it."""
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
    """Yield the sketches of the documents at ``wanted``, one partition at a time."""
    for (sketches,) in _surveyed(records, wanted, folder, ["sketch"]):
        data = b"".join(sketches.to_pylist())
        yield np.frombuffer(data, np.uint8).reshape(-1, minhash.SKETCH_BYTES)


def _drop_shared_with_train(
    records: Records, splits: npt.NDArray[np.int8], most: float, folder: Path
) -> dict[str, float]:
    """Drop held-out documents of which train has more than ``most`` (``shared_with_train``).

    The document of which train has least stays in any case, so no split becomes empty. Dropped
    documents have the split -1. Returns the share of the tokens that is left in each split.
    """
    found = _SharedTokens(records, splits, folder)
    shares = found.shared / np.maximum(found.sizes, 1)
    dropped = np.zeros(len(splits), bool)
    for number in np.unique(splits[found.held_out]):
        mine = np.flatnonzero(splits[found.held_out] == number)
        again = shares[mine] > most
        if again.all():
            again[np.argmin(shares[mine])] = False
        dropped[found.held_out[mine[again]]] = True
    records.drop(dropped, "shared_with_train")
    splits[dropped] = -1
    return found.share_left(splits)


class _SharedTokens:
    """Number of tokens of each held-out document in passages that train has as well."""

    def __init__(self, records: Records, splits: npt.NDArray[np.int8], folder: Path) -> None:
        train = SPLITS.index("train")
        self.held_out = np.flatnonzero((splits >= 0) & (splits != train))
        sizes, fingerprints = [np.empty(0, np.int64)], []
        columns = ["tokens", "fingerprints"]
        for counts, of_each in _surveyed(records, self.held_out, folder, columns):
            sizes.append(counts.to_numpy())
            fingerprints += [np.frombuffer(data, np.uint64) for data in of_each.to_pylist()]
        passages = shared_passages.HeldOutPassages(fingerprints)
        in_train = np.flatnonzero(splits == train)
        for (of_each,) in _surveyed(records, in_train, folder, ["fingerprints"]):
            passages.add_train(np.frombuffer(b"".join(of_each.to_pylist()), np.uint64))
        self.sizes = np.concatenate(sizes)
        self.shared = passages.shared_tokens()

    def share_left(self, splits: npt.NDArray[np.int8]) -> dict[str, float]:
        """Share of the tokens of the documents that are still in validation, and in test."""
        left = {}
        for number, name in enumerate(SPLITS):
            if name != "train":
                mine = splits[self.held_out] == number
                left[name] = float(self.shared[mine].sum() / max(1, self.sizes[mine].sum()))
        return left


def _take(records: Records, splits: npt.NDArray[np.int8], recipe: CorpusRecipe) -> bool:
    """Drop the documents beyond the numbers to take (``not_taken``); return whether there are any.

    Dropped documents have the split -1.
    """
    dropped = np.zeros(len(splits), bool)
    for number, name in enumerate(SPLITS):
        wanted: int | None = getattr(recipe.take, name)
        if wanted is not None:
            mine = np.flatnonzero(splits == number)
            order = shuffle.shuffled(records.digests[mine], recipe.seed)
            dropped[mine[order[wanted:]]] = True
    records.drop(dropped, "not_taken")
    splits[dropped] = -1
    return bool(dropped.any())


def _surveyed(
    records: Records, wanted: Integers, folder: Path, columns: Sequence[str]
) -> Iterator[list[pa.ChunkedArray]]:
    """Yield columns of the survey for the documents at ``wanted``, one partition at a time."""
    for partition, rows in _partitions_of(records, wanted):
        with pa.memory_map(str(work_file(folder, "survey", partition.number))) as file:
            table = pa.ipc.open_file(file).read_all()
        yield [table.column(name).take(pa.array(rows)) for name in columns]


def _forks(
    records: Records, origins: Integers, projects: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Pairs of a project and its fork, from the kept documents and their copies."""
    names = [projects.get(name, name) for name in records.repository_names]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    whole = records.kept | (origins != np.arange(len(origins)))
    places = np.flatnonzero(whole)
    owners = np.array([numbers[name] for name in names], np.int64)[records.repositories[places]]
    pairs = near_duplicates.forks(np.searchsorted(places, origins[places]), owners)
    ordered = list(numbers)
    return [(ordered[one], ordered[other]) for one, other in pairs.tolist()]


def _hits(table: pa.Table) -> Iterator[dict[str, Any]]:
    """Benchmark problems that the survey of a partition found."""
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


def _project(records: Records, projects: Mapping[str, str], position: int) -> str:
    name = records.repository_names[records.repositories[position]]
    return projects.get(name, name)


def _paths(records: Records, wanted: Integers, folder: Path) -> Callable[[], Sequence[str]]:
    """Return a function that reads the paths of the documents at ``wanted``."""

    def read() -> Sequence[str]:
        found: list[str] = []
        for (paths,) in _surveyed(records, wanted, folder, ["path"]):
            found += paths.to_pylist()
        return found

    return read


def _partitions_of(records: Records, wanted: Integers) -> Iterator[tuple[Partition, Integers]]:
    """Yield the partitions of the ascending indices ``wanted``, with the rows in each."""
    for partition in records.partitions:
        first, last = records.offsets[partition.number : partition.number + 2]
        start, end = np.searchsorted(wanted, [first, last])
        if start < end:
            yield partition, wanted[start:end] - first


class _Names:
    """Numbers names in the order in which they are first seen."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}

    def numbers(self, column: pa.ChunkedArray) -> Integers:
        """Return the number of each value; -1 for null."""
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
    """Collects bad input, up to a number of rows per reason."""

    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []
        self._number: dict[str, int] = {}

    def add(self, partition: Partition, table: pa.Table) -> None:
        """Add the bad rows of a partition's survey."""
        names = ["row", "path", "reason", "detail"]
        for row in table.filter(pc.is_valid(table.column("detail"))).select(names).to_pylist():
            reason = row["reason"]
            self._number[reason] = self._number.get(reason, 0) + 1
            if self._number[reason] <= PROBLEMS_PER_REASON:
                file = partition.shard.name if partition.shard else row["path"]
                self.found.append(
                    {"file": file, "row": row["row"], "reason": reason, "detail": row["detail"]}
                )
