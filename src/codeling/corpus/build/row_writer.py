"""Rows on their way to an Arrow IPC file of the work folder, whole or not there at all.

A batch is in memory at a time. Two workers may write the same file at once: each writes beside
its place, and what they write is the same. This module must not know what the rows mean.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

_BATCH_ROWS, _BATCH_BYTES = 1_000, 8_000_000
_COMPRESSED = pa.ipc.IpcWriteOptions(compression="zstd")


class RowWriter:
    """Writes rows to an Arrow IPC file, a batch in memory at a time."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._columns: list[list[Any]] = [[] for _ in schema]
        self._batches: list[pa.RecordBatch] = []
        self._num_rows = self._num_bytes = 0
        self._writer = pa.ipc.new_file(str(path), schema, options=_COMPRESSED)

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if error is None:
            self._flush()
        self._writer.close()

    def add(self, row: Mapping[str, Any], num_bytes: int) -> None:
        """One row; ``num_bytes`` is about what it takes."""
        for column, name in zip(self._columns, self._schema.names, strict=True):
            column.append(row[name])
        self._count(1, num_bytes)

    def extend(self, columns: Mapping[str, pa.Array]) -> None:
        """Many rows, of few bytes, as columns; one that is left out is null throughout."""
        number = len(next(iter(columns.values())))
        self._close_batch()
        arrays = [
            columns[f.name] if f.name in columns else pa.nulls(number, f.type) for f in self._schema
        ]
        self._batches.append(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        self._count(number, 0)

    def _count(self, num_rows: int, num_bytes: int) -> None:
        self._num_rows += num_rows
        self._num_bytes += num_bytes
        if self._num_rows >= _BATCH_ROWS or self._num_bytes >= _BATCH_BYTES:
            self._flush()

    def _close_batch(self) -> None:
        if self._columns[0]:
            arrays = [pa.array(c, f.type) for c, f in zip(self._columns, self._schema, strict=True)]
            self._batches.append(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
            self._columns = [[] for _ in self._schema]

    def _flush(self) -> None:
        self._close_batch()
        if self._batches:
            whole = pa.Table.from_batches(self._batches).combine_chunks()
            self._writer.write_table(whole)
        self._batches = []
        self._num_rows = self._num_bytes = 0


@contextmanager
def placed(path: Path) -> Iterator[Path]:
    """A path to write to, renamed to ``path`` when it is whole; two may do so at once."""
    partial = path.with_name(f"{path.name}.{hashlib.sha256(os.urandom(8)).hexdigest()[:8]}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
