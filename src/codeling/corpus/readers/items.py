"""One document as a source gives it: the items of a partition, whatever they were read from.

Files come as bytes, rows of tables as text; rows of CodeSearchNet are functions already. An item
that cannot be used carries its drop reason, and where the input is at fault a detail that says
how, for the report. Nothing in here raises for bad input: it names it and goes on. This module
must not know what is kept or where it is written.

Layouts: codeparrot's and CodeSearchNet's columns as published (the latter's original names and
those on the Hub).
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from codeling.corpus.extract import Function
from codeling.corpus.filters import keywords
from codeling.corpus.sources.licenses import UNKNOWN
from codeling.corpus.sources.partitions import FileEntry, Partition
from codeling.corpus.sources.shards import BROKEN, Shard, batches, column_names, lines
from codeling.recipe import CodeSearchNet, CorpusRecipe, FileRows, RowSource

_SPLITS = {"train": "train", "valid": "validation", "validation": "validation", "test": "test"}
_FUNCTION_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "repository": ("repository_name", "repo"),
    "path": ("func_path_in_repository", "path"),
    "name": ("func_name",),
    "text": ("whole_func_string", "original_string"),
    "tokens": ("func_code_tokens", "code_tokens"),
    "docstring": ("func_documentation_string", "docstring"),
    "docstring_tokens": ("func_documentation_string_tokens", "docstring_tokens"),
    "url": ("func_code_url", "url"),
    "language": ("language",),
    "split": ("split_name", "partition"),
    "license": ("license",),
}
_FUNCTIONS_NEED = {"repository", "path", "name", "text", "tokens", "docstring", "docstring_tokens"}
_FILES_NEED = {"rows": {"content"}, "codeparrot": {"content", "repo_name", "path"}}
_LINES = re.compile(r"#L(\d+)(?:-L(\d+))?$")


@dataclass(slots=True)
class RawDocument:
    """One document, or what stands in its place."""

    row: int | None
    """In its shard, from 0; None for a file, and for a shard as a whole."""
    repository: str = ""
    path: str = ""
    license: str = UNKNOWN
    url: str = ""
    data: bytes | str | None = None
    """A file's bytes, or a row's text."""
    num_bytes: int = 0
    """As found: on disk for files, of the text for rows."""
    copies: int = 1
    split: str | None = None
    """As published: ``train``, ``validation`` or ``test``."""
    function: Function | None = None
    """Set where the document is a function and no file."""
    reason: str | None = None
    detail: str | None = None
    """What is wrong with the input, for the report."""


@dataclass(slots=True)
class OutsideSlice:
    """Rows of a table that none of the slice's words is in: N of each, and no text of them.

    They stay columns, since most rows of a shard are such.
    """

    rows: pa.Int64Array
    repositories: pa.StringArray
    paths: pa.StringArray
    num_bytes: pa.Int64Array
    """Of the texts in UTF-8."""


def items(partition: Partition, recipe: CorpusRecipe) -> Iterator[RawDocument | OutsideSlice]:
    """The documents of ``partition``, the same at every call.

    They come in their order, but for rows of Parquet and Arrow where the recipe has keywords: of
    some hundred at a time first those of the slice, then the rest at once, as a search of the
    column has told them apart before any text was made.
    """
    if partition.shard is None:
        return (_of_file(entry) for entry in partition.files)
    source = recipe.sources[partition.shard.source]
    assert isinstance(source, RowSource), "only sources of rows have shards"
    return _of_shard(partition, source, recipe)


def place(partition: Partition, item: RawDocument) -> str:
    """Where an item stands in its shard; the path of one that has no other."""
    return f"{partition.shard.name}#{item.row}" if partition.shard else item.path


def _of_file(entry: FileEntry) -> RawDocument:
    item = RawDocument(None, entry.repository, entry.path, entry.license, entry.url)
    item.num_bytes, item.reason = entry.num_bytes, entry.reason
    if item.reason is None:
        try:
            item.data = Path(entry.location).read_bytes()
        except OSError:
            item.reason = "unreadable"
    return item


def _of_shard(
    partition: Partition, source: RowSource, recipe: CorpusRecipe
) -> Iterator[RawDocument | OutsideSlice]:
    piece, shard = partition.piece, partition.shard
    assert piece is not None, "it is no run of files"
    assert shard is not None, "it is no run of files"
    row, num_bytes = piece.first_row - 1, 0
    try:
        columns = column_names(shard)
        if columns is not None and (gone := _missing(columns, source)):
            detail = f"no column {gone}"
            yield RawDocument(
                None, reason="missing_column", detail=detail, num_bytes=piece.num_bytes
            )
            return
        for row, record in _records(partition, source, recipe):
            if isinstance(record, OutsideSlice):
                num_bytes += pc.sum(record.num_bytes).as_py()
                yield record
                continue
            item = (
                record
                if isinstance(record, RawDocument)
                else _of_record(row, record, source, recipe)
            )
            if not item.path:
                item.path = place(partition, item)
            num_bytes += item.num_bytes
            yield item
    except BROKEN as error:
        reason = "truncated" if isinstance(error, EOFError) else "unreadable"
        rest = max(0, piece.num_bytes - num_bytes)
        yield RawDocument(row + 1, reason=reason, detail=_first_line(error), num_bytes=rest)
        return
    if row < piece.first_row:
        yield RawDocument(None, reason="empty_shard", detail="no rows", num_bytes=piece.num_bytes)


def _records(
    partition: Partition, source: RowSource, recipe: CorpusRecipe
) -> Iterator[tuple[int, dict[str, Any] | RawDocument | OutsideSlice]]:
    """Rows as our name → value; or as an item where a row is none; with the last row's number."""
    shard, piece = partition.shard, partition.piece
    assert piece is not None, "it is no run of files"
    assert shard is not None, "it is no run of files"
    if shard.format in {"json", "json.gz"}:
        limit = 16 * recipe.max_bytes + (1 << 20)  # of JSON, where a character may take six
        for row, line in lines(shard, piece, limit):
            yield row, _parsed(row, line, limit, source)
        return
    wanted = {name for names in _layout(source).values() for name in names}
    row, words = piece.first_row, keywords.words(recipe)
    # No text is made of what a search leaves out, so it may look at more rows at once.
    for batch in batches(shard, piece, sorted(wanted), 1_000 if words else 256):
        names = _choice(batch.schema.names, source)
        numbers = range(row, row + batch.num_rows)
        row += batch.num_rows
        outside = None
        if words and names.get("content"):
            holding = keywords.mask(batch.column(names["content"]), words)
            if holding is not None:
                outside = _outside(batch, numbers, pc.invert(holding), names, source, shard)
                numbers = np.array(numbers)[holding.to_numpy(zero_copy_only=False)].tolist()
                batch = batch.filter(holding)
        values = [_values(batch.column(theirs)) for theirs in names.values()]
        for number, record in zip(numbers, zip(*values, strict=True), strict=True):
            yield number, dict(zip(names, record, strict=True))
        if outside is not None and len(outside.rows):
            yield row - 1, outside


def _outside(
    batch: pa.RecordBatch,
    numbers: Sequence[int],
    chosen: pa.BooleanArray,
    names: Mapping[str, str],
    source: RowSource,
    shard: Shard,
) -> OutsideSlice:
    rows = pa.array(np.array(numbers, np.int64)).filter(chosen)
    sizes = pc.binary_length(batch.column(names["content"])).cast(pa.int64()).filter(chosen)

    def column(name: str) -> pa.StringArray:
        if name not in names:
            return pa.nulls(len(rows), pa.string())
        return _as_text(batch.column(names[name]).filter(chosen))

    repositories = column("repo_name")
    unnamed = pa.scalar(_repository(None, source))
    repositories = pc.replace_with_mask(repositories, _is_blank(repositories), unnamed)
    paths = column("path")
    blank = _is_blank(paths)
    own = [f"{shard.name}#{row}" for row in rows.filter(blank).to_pylist()]
    paths = pc.replace_with_mask(paths, blank, pa.array(own, pa.string()))
    return OutsideSlice(rows, repositories, paths, sizes)


def _as_text(column: pa.Array) -> pa.StringArray:
    """A column as texts, as ``str`` gives them; what counts as nothing to Python is null."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            pass
        else:
            return column.cast(pa.string())
    return pa.array([str(value) if value else None for value in _values(column)], pa.string())


def _is_blank(texts: pa.StringArray) -> pa.BooleanArray:
    return pc.equal(pc.binary_length(texts), 0).fill_null(True)


def _repository(value: object, source: RowSource) -> str:
    return str(value) if value else source.name or source.kind


def _values(column: pa.Array) -> list[Any]:
    """A column as Python values; text that is not UTF-8 after all as bytes."""
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        return list(column.cast(pa.large_binary()).to_pylist())


def _parsed(
    row: int, line: bytes | None, limit: int, source: RowSource
) -> dict[str, Any] | RawDocument:
    if line is None:
        detail = f"a row of more than {limit:,} bytes"
        return RawDocument(row, reason="too_large", detail=detail, num_bytes=limit)
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        detail = f"not JSON: {_first_line(error)}"
        return RawDocument(row, reason="bad_row", detail=detail, num_bytes=len(line))
    if not isinstance(record, dict):
        detail = f"{_kind(record)} where an object is due"
        return RawDocument(row, reason="bad_row", detail=detail, num_bytes=len(line))
    if gone := _missing(list(record), source):
        detail = f"no column {gone}"
        return RawDocument(row, reason="missing_column", detail=detail, num_bytes=len(line))
    return {ours: record[theirs] for ours, theirs in _choice(list(record), source).items()}


def _layout(source: RowSource) -> Mapping[str, tuple[str, ...]]:
    """Our name of a column → the names it may have in the source."""
    if isinstance(source, CodeSearchNet):
        return _FUNCTION_COLUMNS
    named = source.columns if isinstance(source, FileRows) else {}
    ours = ("content", "repo_name", "path", "copies", "license", "url")
    return {name: (named.get(name, name),) for name in ours}


def _choice(columns: Sequence[str], source: RowSource) -> dict[str, str]:
    """Our name → the column of the source that holds it, of those there are."""
    found = {}
    for ours, names in _layout(source).items():
        theirs = next((name for name in names if name in columns), None)
        if theirs is not None:
            found[ours] = theirs
    return found


def _missing(columns: Sequence[str], source: RowSource) -> str | None:
    """The first column that a row cannot do without and that is not among ``columns``."""
    choice, layout = _choice(columns, source), _layout(source)
    need = _FUNCTIONS_NEED if isinstance(source, CodeSearchNet) else _FILES_NEED[source.kind]
    if isinstance(source, FileRows):
        need = need | source.columns.keys()
    return next((" or ".join(layout[n]) for n in layout if n in need and n not in choice), None)


def _of_record(
    row: int, record: dict[str, Any], source: RowSource, recipe: CorpusRecipe
) -> RawDocument:
    is_function = isinstance(source, CodeSearchNet)
    text = record["text" if is_function else "content"]
    item = RawDocument(row)
    item.repository = _repository(record.get("repository" if is_function else "repo_name"), source)
    item.path = str(record.get("path") or "")
    item.license = str(record.get("license") or UNKNOWN)
    item.url = str(record.get("url") or "")
    if text is None:
        item.reason, item.detail = "no_content", "null where the text is due"
        return item
    if not isinstance(text, str | bytes):
        item.reason, item.detail = "bad_row", f"{_kind(text)} where the text is due"
        return item
    item.num_bytes = len(text)
    words = () if is_function else keywords.words(recipe)
    if words and isinstance(text, str) and not keywords.mentions(text, words):
        item.reason = keywords.reason(recipe)
        item.num_bytes = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
        return item
    if len(text) > 2 * recipe.max_bytes:
        item.reason, item.detail = "too_large", f"{len(text):,} characters"
        return item
    if is_function:
        _fill_function(item, record, text)
    else:
        item.data = text if isinstance(text, bytes) else settled(item, text)
        copies = str(record.get("copies"))
        item.copies = max(1, int(copies)) if re.fullmatch("[0-9]{1,18}", copies) else 1
    return item


def settled(item: RawDocument, text: str) -> str | None:
    """``text`` as :func:`codeling.source_text.decode` leaves one, or None and a reason."""
    if "\0" in text:
        item.reason = "nul_bytes"
        return None
    if not text.isascii():
        try:
            item.num_bytes = len(text.encode())
        except UnicodeEncodeError:
            item.reason = "wrong_encoding"
            return None
        text = text.removeprefix("\ufeff")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text


def _fill_function(item: RawDocument, record: dict[str, Any], text: str | bytes) -> None:
    """The function of a row of CodeSearchNet, tokens and docstring as published."""
    if isinstance(text, bytes):
        item.reason = "wrong_encoding"
        return
    item.data = settled(item, text)
    item.split = _SPLITS.get(str(record.get("split") or ""))
    tokens, words = record["tokens"], record["docstring_tokens"]
    if not (_are_words(tokens) and _are_words(words)):
        item.reason, item.detail = "bad_row", "the tokens are no list of strings"
    language = record.get("language")
    if item.reason is None and language not in {None, "", "python"}:
        item.reason = "other_language"
    if item.reason is not None:
        return
    place = _LINES.search(item.url)
    start = int(place[1]) if place else 1
    end = int(place[2] or start) if place else text.count("\n") + 1
    item.function = Function(
        name=str(record["name"]),
        text=str(item.data),
        tokens=tokens,
        docstring=str(record["docstring"] or ""),
        docstring_tokens=words,
        start_line=start,
        end_line=end,
        is_empty=False,
    )


def _are_words(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def _kind(value: object) -> str:
    for kind, name in _KINDS.items():
        if isinstance(value, kind):
            return name
    return type(value).__name__


_KINDS = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    str: "a string",
    dict: "an object",
    type(None): "null",
}


def _first_line(error: BaseException) -> str:
    reason = str(error).partition("\n")[0]
    if isinstance(error, OSError) and error.errno is not None:
        reason = os.strerror(error.errno)
    return reason[:200]
