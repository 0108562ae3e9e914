"""The corpus on disk: two Parquet tables per split, their schemas, a writer and a reader.

Files have the columns of codeparrot's dataset (``repo_name, path, copies, size, content, license``,
all strings, as published), functions those of CodeSearchNet on the Hub (``id, repository_name,
func_path_in_repository, …``, as published); our columns come after. This module must not know where
documents come from or why one is kept.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from codeling.errors import CorpusError, storage_errors
from codeling.manifest import replacing

Table = Literal["files", "functions"]
SPLITS = ("train", "validation", "test")
SPLIT_NAMES = {"train": "train", "validation": "valid", "test": "test"}
"""Split → its value in CodeSearchNet's column ``split_name`` (originally ``partition``)."""

FILES_SCHEMA = pa.schema(
    [
        ("repo_name", pa.string()),
        ("path", pa.string()),
        ("copies", pa.string()),
        ("size", pa.string()),
        ("content", pa.string()),
        ("license", pa.string()),
        # Our columns:
        ("url", pa.string()),
        ("python3", pa.bool_()),
    ]
)
"""One row per file."""

FUNCTIONS_SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("repository_name", pa.string()),
        ("func_path_in_repository", pa.string()),
        ("func_name", pa.string()),
        ("whole_func_string", pa.string()),
        ("language", pa.string()),
        ("func_code_string", pa.string()),
        ("func_code_tokens", pa.list_(pa.string())),
        ("func_documentation_string", pa.string()),
        ("func_documentation_string_tokens", pa.list_(pa.string())),
        ("split_name", pa.string()),
        ("func_code_url", pa.string()),
        # Our columns:
        ("license", pa.string()),
        ("start_line", pa.int32()),
        ("end_line", pa.int32()),
        ("python3", pa.bool_()),
    ]
)
"""One row per function or method; ``id`` numbers the rows of a split from 0."""

SCHEMAS: Mapping[Table, pa.Schema] = {"files": FILES_SCHEMA, "functions": FUNCTIONS_SCHEMA}
PART_BYTES = 256_000_000
"""A part is closed at this many bytes of text."""
ROW_GROUP_ROWS = 1_000
ROW_GROUP_BYTES = 32_000_000
"""A row group is closed at this many rows or bytes of text, whichever comes first."""

TEXT_COLUMN = {"files": "content", "functions": "whole_func_string"}
_REPEATING = {
    "files": ["repo_name", "copies", "license"],
    "functions": [
        "repository_name", "func_path_in_repository", "language", "split_name", "license",
        "func_code_tokens.list.element", "func_documentation_string_tokens.list.element",
    ],
}  # fmt: skip
_READ = {
    "files": ("repo_name", "path", "content", "license", "url"),
    "functions": (
        "repository_name", "func_path_in_repository", "whole_func_string", "license",
        "func_code_url", "start_line",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Document:
    """One text and its origin."""

    repository: str
    path: str
    """POSIX, relative to the repository."""
    text: str
    license: str
    url: str
    """Link to the text, or empty."""
    start_line: int
    """First line of the text in its file, from 1."""


class PartWriter:
    """Writes the rows of one table of one split, part by part, and counts them.

    Row groups and parts are closed by number of rows and bytes alone, so the batches in which rows
    arrive do not change the files. A part is written under another name and renamed when it is
    complete. At least one part is written, even without rows.

    :raises StorageError: the folder cannot be written.
    """

    def __init__(self, folder: Path, table: Table) -> None:
        self._folder, self._table = folder, table
        self._schema = SCHEMAS[table]
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = self._pending_bytes = 0
        self._part = self._part_bytes = 0
        self._stack = ExitStack()
        self._writer: pq.ParquetWriter | None = None
        self.num_rows = 0

    def __enter__(self) -> "PartWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._flush()
            self._open()
            self._close()
        else:
            self._stack.__exit__(kind, error, trace)

    def write(self, rows: pa.RecordBatch) -> None:
        """Append ``rows``, which have the columns of the table's schema."""
        lengths = pc.binary_length(rows.column(TEXT_COLUMN[self._table])).to_pylist()
        start = 0
        for end, num_bytes in enumerate(lengths, start=1):
            self._pending_rows += 1
            self._pending_bytes += num_bytes
            full = self._pending_bytes >= ROW_GROUP_BYTES or self._pending_rows >= ROW_GROUP_ROWS
            if full or end == len(lengths):
                self._pending.append(rows.slice(start, end - start))
                start = end
            if full:
                self._flush()
        self.num_rows += len(lengths)

    def _flush(self) -> None:
        if not self._pending:
            return
        table = pa.Table.from_batches(self._pending, schema=self._schema).combine_chunks()
        with storage_errors(self._folder):
            self._open().write_table(table, row_group_size=ROW_GROUP_ROWS)
        self._part_bytes += self._pending_bytes
        self._pending, self._pending_rows, self._pending_bytes = [], 0, 0
        if self._part_bytes >= PART_BYTES:
            self._close()

    def _open(self) -> pq.ParquetWriter:
        if self._writer is None and (self._part == 0 or self._pending):
            path = self._folder / f"{self._table}-{self._part:05d}.parquet"
            partial = self._stack.enter_context(replacing(path))
            self._writer = self._stack.enter_context(
                pq.ParquetWriter(
                    partial,
                    self._schema,
                    compression="zstd",
                    compression_level=1,
                    use_dictionary=_REPEATING[self._table],
                    write_statistics=False,
                )
            )
        return self._writer

    def _close(self) -> None:
        if self._writer is not None:
            self._stack.close()
            self._writer = None
            self._part += 1
            self._part_bytes = 0


def clear(folder: Path) -> None:
    """Remove the parts, partial parts and report of an earlier build in ``folder``.

    :raises StorageError: the folder cannot be changed.
    """
    with storage_errors(folder):
        (folder / "report.json").unlink(missing_ok=True)
        for split in SPLITS:
            for table in SCHEMAS:
                for path in sorted((folder / split).glob(f"{table}-*.parquet*")):
                    path.unlink()


def parts(folder: Path, split: str, table: Table) -> list[Path]:
    """Return the Parquet parts of one table of one split, in order.

    :raises CorpusError: there are none.
    """
    found = sorted((folder / split).glob(f"{table}-*.parquet"))
    if not found:
        raise CorpusError(f"{folder / split}: no {table}-*.parquet; build the corpus first")
    return found


def held_out_split(folder: Path, table: Table) -> str:
    """Return the split to measure on: ``test``, or ``validation`` where no row is for testing.

    A published pair of training and validation data has no test split.

    :raises CorpusError: the table is missing.
    """
    has_test = any(pq.read_metadata(path).num_rows for path in parts(folder, "test", table))
    return "test" if has_test else "validation"


def iterate(folder: Path, split: str, table: Table) -> Iterator[Document]:
    """Yield the documents of a split in the corpus's order, with few rows in memory.

    The text is the content of a file, or a whole function.

    :raises CorpusError: the table is missing, or a part cannot be read.
    """
    for path in parts(folder, split, table):
        for batch in _batches(path, list(_READ[table])):
            yield from _documents(batch, _READ[table])


def _batches(path: Path, names: list[str]) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(path) as file:
            missing = [name for name in names if name not in file.schema_arrow.names]
            if missing:
                raise CorpusError(f"{path}: not a part of a corpus (no column {missing[0]})")
            yield from file.iter_batches(batch_size=256, columns=names)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise CorpusError(f"{path}: not a part of a corpus ({reason})") from error


def _documents(batch: pa.RecordBatch, names: tuple[str, ...]) -> Iterator[Document]:
    columns: list[list[Any]] = [batch.column(name).to_pylist() for name in names]
    if len(names) == 5:
        columns.append([1] * batch.num_rows)
    for row in zip(*columns, strict=True):
        yield Document(*row)
