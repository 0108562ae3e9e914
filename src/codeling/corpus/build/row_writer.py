"""Writes rows to an Arrow IPC file of the work folder, one batch in memory at a time.

Two workers may write the same file at once: each writes under its own name, with the same bytes.
This module must not know what the rows mean.
"""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

_BATCH_ROWS, _BATCH_BYTES = 1_000, 8_000_000
_COMPRESSED = pa.ipc.IpcWriteOptions(compression="zstd")


class RowWriter:
    """Writes rows; a context manager that ends with the file complete, or on an error closed."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._columns: list[list[Any]] = [[] for _ in schema]
        self._num_bytes = 0
        self._writer = pa.ipc.new_file(str(path), schema, options=_COMPRESSED)

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if error is None:
            self._flush()
        self._writer.close()

    def add(self, row: Mapping[str, Any], num_bytes: int) -> None:
        """Append a row of about ``num_bytes``."""
        for column, name in zip(self._columns, self._schema.names, strict=True):
            column.append(row[name])
        self._num_bytes += num_bytes
        if len(self._columns[0]) >= _BATCH_ROWS or self._num_bytes >= _BATCH_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._columns[0]:
            arrays = [pa.array(c, f.type) for c, f in zip(self._columns, self._schema, strict=True)]
            self._writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        self._columns, self._num_bytes = [[] for _ in self._schema], 0


@contextmanager
def write_whole(path: Path) -> Iterator[Path]:
    """Give a path to write to; rename it to ``path`` unless the body raises."""
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
