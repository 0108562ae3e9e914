"""Writes the two tables from the extracted partitions: rows in order, equal functions once.

Takes the partitions in order as they finish and holds one batch at a time, so memory does not
grow with the corpus. This module must not know how rows were made.
"""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from codeling.corpus import document
from codeling.corpus.build.work_folder import count, work_file
from codeling.corpus.dedup import exact
from codeling.corpus.document import SCHEMAS, SPLITS, PartWriter, Table
from codeling.corpus.sources.partitions import Partition

SourceKey = str | int
"""Key of the report's counts: name of a listed repository, or index of a table source."""


@dataclass
class Counts:
    """Counts of rows written and dropped; each value is [number, bytes of text]."""

    files_dropped: dict[str, list[int]] = field(default_factory=dict)
    functions_dropped: dict[str, list[int]] = field(default_factory=dict)
    files: dict[tuple[SourceKey, str], list[int]] = field(default_factory=dict)
    """(source, split) → files kept."""
    functions: dict[tuple[SourceKey, str], list[int]] = field(default_factory=dict)
    """(source, split) → functions kept."""
    redacted: dict[str, list[int]] = field(default_factory=dict)
    """Kind → [number, documents]."""
    licenses: dict[SourceKey, set[str]] = field(default_factory=dict)
    """Table source → licences of its kept documents."""


class Assembly(AbstractContextManager["Assembly"]):
    """Writes the tables of all splits; :meth:`add` takes the partitions in order."""

    def __init__(self, folder: Path, work_folder: Path, counts: Counts) -> None:
        self._folder, self._work_folder, self._counts = folder, work_folder, counts
        self._seen = exact.DigestSet()
        self._stack = ExitStack()
        self._writers: dict[tuple[str, str], PartWriter] = {}

    def __enter__(self) -> "Assembly":
        with ExitStack() as stack:
            for split in SPLITS:
                for table in SCHEMAS:
                    writer = PartWriter(self._folder / split, table)
                    self._writers[split, table] = stack.enter_context(writer)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._stack.__exit__(*exception)

    def add(self, partition: Partition, summary: Mapping[str, Any]) -> None:
        """Write the rows that an extraction left; add its ``summary`` to the counts."""
        for name in ("files_dropped", "functions_dropped", "redacted"):
            for reason, (number, num_bytes) in summary[name].items():
                count(getattr(self._counts, name), reason, num_bytes, number)
        source = partition.shard.source if partition.shard else None
        for batch in self._batches("files", partition):
            self._write("files", batch, batch.column("repo_name"), source)
        for batch in self._batches("functions", partition):
            is_new = self._seen.add(exact.to_array(b"".join(batch.column("digest").to_pylist())))
            mask = pa.array(is_new)
            for num_bytes in _sizes(batch.filter(pc.invert(mask)), "functions").tolist():
                count(self._counts.functions_dropped, "duplicate", num_bytes)
            kept = batch.filter(mask)
            self._write("functions", kept, kept.column("repository_name"), source)

    def _batches(self, table: Table, partition: Partition) -> Iterable[pa.RecordBatch]:
        path = work_file(self._work_folder, table, partition.number)
        with pa.memory_map(str(path)) as file:
            reader = pa.ipc.open_file(file)
            for i in range(reader.num_record_batches):
                yield reader.get_batch(i)

    def _write(
        self, table: Table, batch: pa.RecordBatch, repositories: pa.Array, source: int | None
    ) -> None:
        counts = self._counts.files if table == "files" else self._counts.functions
        splits = batch.column("split").to_numpy()
        names = batch.schema.names
        for number in np.unique(splits):
            split, mask = SPLITS[number], pa.array(splits == number)
            rows = batch.filter(mask)
            sizes = _sizes(rows, table)
            if source is None:
                encoded = repositories.filter(mask).dictionary_encode()
                num_bytes = np.bincount(encoded.indices.to_numpy(), sizes)
                num_rows = np.bincount(encoded.indices.to_numpy())
                for i, name in enumerate(encoded.dictionary.to_pylist()):
                    _add(counts, (name, split), int(num_rows[i]), int(num_bytes[i]))
            else:
                _add(counts, (source, split), rows.num_rows, int(sizes.sum()))
                licenses = rows.column(names.index("license")).unique().to_pylist()
                self._counts.licenses.setdefault(source, set()).update(licenses)
            writer = self._writers[split, table]
            if table == "functions":
                ids = np.arange(writer.num_rows, writer.num_rows + rows.num_rows)
                rows = rows.append_column("id", pa.array(ids))
            writer.write(rows.select(SCHEMAS[table].names))


def _sizes(rows: pa.RecordBatch, table: Table) -> Any:
    return pc.binary_length(rows.column(document.TEXT_COLUMN[table])).to_numpy().astype(np.int64)


def _add(counts: dict[tuple[SourceKey, str], list[int]], key: Any, number: int, size: int) -> None:
    values = counts.setdefault(key, [0, 0])
    values[0] += number
    values[1] += size
