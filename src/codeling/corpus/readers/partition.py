"""Reads the documents of a partition, in their order, whatever they are stored in.

Bad input never raises: it yields a document with a drop reason. This module must not know which
documents are kept or where they are written.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from codeling import jsonl
from codeling.corpus.filters import keywords
from codeling.corpus.readers import layouts
from codeling.corpus.readers.columnar import column_names, read_batches, to_values
from codeling.corpus.readers.json_lines import read_lines
from codeling.corpus.readers.raw_document import RawDocument
from codeling.corpus.readers.rows import OutsideSlice, SourceRow, to_document
from codeling.corpus.sources.partitions import FileEntry, Partition
from codeling.corpus.sources.pieces import Piece
from codeling.corpus.sources.shards import Shard
from codeling.corpus.sources.storage import READ_ERRORS
from codeling.recipe import CodeSearchNet, CorpusRecipe, RowSource

_BATCH_ROWS = 256
_SEARCHED_ROWS = 1_000
"""Rows per batch where only those with a keyword become Python strings."""


def read_partition(partition: Partition, recipe: CorpusRecipe) -> Iterator[RawDocument]:
    """Yield the documents of ``partition``, the same at every call."""
    if partition.shard is None:
        return map(_read_file, partition.files)
    assert partition.piece is not None, "a partition of a shard has a piece"
    source = recipe.sources[partition.shard.source]
    assert isinstance(source, RowSource), "only table sources have shards"
    return _read_shard(partition.shard, partition.piece, source, recipe)


def position(partition: Partition, document: RawDocument) -> str:
    """Return ``shard#row`` of a row, or the path of a file."""
    return f"{partition.shard.name}#{document.row}" if partition.shard else document.path


def _read_file(entry: FileEntry) -> RawDocument:
    document = RawDocument(None, entry.repository, entry.path, entry.license, entry.url)
    document.num_bytes, document.reason = entry.num_bytes, entry.reason
    document.split = entry.split
    if document.reason is None:
        try:
            document.data = Path(entry.location).read_bytes()
        except OSError:
            document.reason = "unreadable"
    return document


def _read_shard(
    shard: Shard, piece: Piece, source: RowSource, recipe: CorpusRecipe
) -> Iterator[RawDocument]:
    """Yield the rows of a piece; end with a placeholder where the rest cannot be read."""
    next_row, num_bytes = piece.first_row, 0
    is_json = shard.format in {"json", "json.gz"}
    try:
        if not is_json and (missing := layouts.missing_column(column_names(shard), source, shard)):
            yield RawDocument(
                None, reason="missing_column", detail=missing, num_bytes=piece.num_bytes
            )
            return
        read = _read_json if is_json else _read_columns
        for document in read(shard, piece, source, recipe):
            if not document.path:
                document.path = f"{shard.name}#{document.row}"
            assert document.row is not None, "a row has a number"
            next_row = document.row + 1
            num_bytes += document.num_bytes
            yield document
    except READ_ERRORS as error:
        reason = "truncated" if isinstance(error, EOFError) else "unreadable"
        rest = max(0, piece.num_bytes - num_bytes)
        yield RawDocument(next_row, reason=reason, detail=_first_line(error), num_bytes=rest)
        return
    if next_row == piece.first_row:
        yield RawDocument(None, reason="empty_shard", detail="no rows", num_bytes=piece.num_bytes)


def _read_json(
    shard: Shard, piece: Piece, source: RowSource, recipe: CorpusRecipe
) -> Iterator[RawDocument]:
    limit = 16 * recipe.max_bytes + (1 << 20)  # JSON may take six bytes a character
    for number, line in read_lines(shard, piece, limit):
        if line is None:
            detail = f"a row of more than {limit:,} bytes"
            yield RawDocument(number, reason="too_large", detail=detail, num_bytes=limit)
            continue
        try:
            values = jsonl.parse(line)
        except jsonl.LineError as error:
            yield RawDocument(number, reason="bad_row", detail=str(error), num_bytes=len(line))
            continue
        if missing := layouts.missing_column(list(values), source, shard):
            yield RawDocument(number, reason="missing_column", detail=missing, num_bytes=len(line))
            continue
        columns = layouts.match_columns(list(values), source)
        fields = {name: values[column] for name, column in columns.items()}
        yield to_document(SourceRow(number, fields, columns, shard.split), source, recipe)


def _read_columns(
    shard: Shard, piece: Piece, source: RowSource, recipe: CorpusRecipe
) -> Iterator[RawDocument]:
    words = () if isinstance(source, CodeSearchNet) else keywords.words(recipe)
    wanted = {column for candidates in layouts.columns(source).values() for column in candidates}
    number, num_rows = piece.first_row, _SEARCHED_ROWS if words else _BATCH_ROWS
    for batch in read_batches(shard, piece, sorted(wanted), num_rows):
        columns = layouts.match_columns(batch.schema.names, source)
        mask = keywords.mask(batch.column(columns["text"]), words) if words else None
        if mask is not None:
            yield from _read_searched(number, batch, mask, columns, shard, source, recipe)
        else:
            rows = _rows(batch, columns, range(number, number + batch.num_rows), shard)
            for row in rows:
                yield to_document(row, source, recipe)
        number += batch.num_rows


def _read_searched(
    first: int,
    batch: pa.RecordBatch,
    mask: pa.BooleanArray,
    columns: Mapping[str, str],
    shard: Shard,
    source: RowSource,
    recipe: CorpusRecipe,
) -> Iterator[RawDocument]:
    """Yield the rows of ``batch``; of the many outside the slice only the names are read."""
    selected = mask.to_pylist()
    numbers = [number for number, is_selected in enumerate(selected, first) if is_selected]
    inside = _rows(batch.filter(mask), columns, numbers, shard)
    nones = [None] * batch.num_rows
    repositories, paths = (
        to_values(batch.column(columns[name])) if name in columns else nones
        for name in ("repository", "path")
    )
    outside = OutsideSlice(columns, shard.split, source, recipe)
    sizes = pc.binary_length(batch.column(columns["text"])).to_pylist()
    for number, is_selected, repository, path, size in zip(
        range(first, first + batch.num_rows), selected, repositories, paths, sizes, strict=True
    ):
        if is_selected:
            yield to_document(next(inside), source, recipe, has_keyword=True)
        else:
            yield outside.document(number, repository, path, size)


def _rows(
    batch: pa.RecordBatch, columns: Mapping[str, str], numbers: Sequence[int], shard: Shard
) -> Iterator[SourceRow]:
    values = [to_values(batch.column(column)) for column in columns.values()]
    for number, record in zip(numbers, zip(*values, strict=True), strict=True):
        fields = dict(zip(columns, record, strict=True))
        yield SourceRow(number, fields, columns, shard.split)


def _first_line(error: BaseException) -> str:
    reason = str(error).partition("\n")[0]
    if isinstance(error, OSError) and error.errno is not None:
        reason = os.strerror(error.errno)
    return reason[:200]
