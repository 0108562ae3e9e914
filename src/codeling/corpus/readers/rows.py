"""Turns one row of a table into a document, checking the type and encoding of every value.

A bad value never raises: the document gets the reason ``bad_row`` and a detail for the report.
This module must not know which format the row was read from.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from codeling.corpus.extract import Function
from codeling.corpus.filters import keywords
from codeling.corpus.readers.columnar import Unreadable
from codeling.corpus.readers.raw_document import RawDocument, clean_text
from codeling.corpus.sources.licenses import UNKNOWN
from codeling.corpus.sources.published_split import SPLIT_WORDS
from codeling.jsonl import type_name
from codeling.quantity import quantity
from codeling.recipe import CodeSearchNet, CorpusRecipe, FileRows, RowSource

_LINES = re.compile(r"#L([0-9]{1,9})(?:-L([0-9]{1,9}))?$")


class SourceRow(NamedTuple):
    """One row of a table."""

    number: int
    """Index in its shard."""
    values: Mapping[str, Any]
    """Field (see :mod:`codeling.corpus.readers.layouts`) → value, for the columns there are."""
    columns: Mapping[str, str]
    """Field → name of its column, for messages."""
    file_split: str | None
    """Split in the name of its shard."""


class _BadValueError(ValueError):
    """A value has the wrong type or cannot be encoded."""


def to_document(
    row: SourceRow, source: RowSource, recipe: CorpusRecipe, has_keyword: bool = False
) -> RawDocument:
    """Turn ``row`` into a document; its ``path`` stays empty where the row has none.

    ``has_keyword``: its text is known to contain one of the recipe's keywords, and is not searched.
    """
    document = RawDocument(row.number, source.name or source.kind)
    text = row.values["text"]
    if isinstance(text, str) and not isinstance(source, CodeSearchNet):
        words = keywords.words(recipe)
        if words:
            document.mentions_keyword = has_keyword or keywords.mentions(text, words)
            if not document.mentions_keyword:
                values, size = row.values, len(text.encode("utf-8", "replace"))
                outside = OutsideSlice(row.columns, row.file_split, source, recipe)
                return outside.document(
                    row.number, values.get("repository"), values.get("path"), size
                )
    if isinstance(text, str | bytes):
        document.num_bytes = len(text)
    try:
        _set_names(document, row, source)
        document.license = _text(row, "license") or UNKNOWN
        document.url = _text(row, "url")
        document.split = _split(row, source)
        _set_text(document, row, text, source, recipe)
    except _BadValueError as error:
        document.data = document.function = None
        document.reason, document.detail = "bad_row", str(error)
    return document


class OutsideSlice:
    """Documents of the rows whose text has none of the recipe's keywords: most of a table."""

    def __init__(
        self,
        columns: Mapping[str, str],
        file_split: str | None,
        source: RowSource,
        recipe: CorpusRecipe,
    ) -> None:
        self._columns, self._file_split, self._source = columns, file_split, source
        self._reason = keywords.reason(recipe)
        self._repository = source.name or source.kind

    def document(self, number: int, repository: Any, path: Any, num_bytes: int) -> RawDocument:
        """The document of row ``number``, without its text."""
        document = RawDocument(
            number,
            self._repository,
            num_bytes=num_bytes,
            mentions_keyword=False,
            reason=self._reason,
        )
        if type(repository) is type(path) is str and repository.isascii() and path.isascii():
            if repository:
                document.repository = repository
            document.path = path
            return document
        values = {"repository": repository, "path": path}
        row = SourceRow(number, values, self._columns, self._file_split)
        try:
            _set_names(document, row, self._source)
        except _BadValueError as error:
            document.reason, document.detail = "bad_row", str(error)
        return document


def _set_names(document: RawDocument, row: SourceRow, source: RowSource) -> None:
    document.repository = _name(row, "repository", source) or document.repository
    document.path = _name(row, "path", source)


def _set_text(
    document: RawDocument, row: SourceRow, text: object, source: RowSource, recipe: CorpusRecipe
) -> None:
    if text is None:
        document.reason, document.detail = "no_content", f"{row.columns['text']}: null"
        return
    if not isinstance(text, str | bytes):
        raise _wrong_type(row, "text", text)
    if len(text) > 2 * recipe.max_bytes:
        document.reason, document.detail = "too_large", quantity(len(text), "character")
    elif isinstance(source, CodeSearchNet):
        _set_function(document, row, text)
    else:
        document.data = text if isinstance(text, bytes) else clean_text(document, text)
        copies = str(row.values.get("copies"))
        document.copies = max(1, int(copies)) if re.fullmatch("[0-9]{1,18}", copies) else 1


def _set_function(document: RawDocument, row: SourceRow, text: str | bytes) -> None:
    """Set the function of a row of CodeSearchNet, with its tokens and docstring as published."""
    name, docstring, language = _text(row, "name"), _text(row, "docstring"), _text(row, "language")
    tokens, words = _text_list(row, "tokens"), _text_list(row, "docstring_tokens")
    if isinstance(text, bytes):
        document.reason = "wrong_encoding"
        return
    document.data = clean_text(document, text)
    if document.reason is None and language not in {"", "python"}:
        document.reason = "other_language"
    if document.reason is not None:
        return
    lines = _LINES.search(document.url)
    start = int(lines[1]) if lines else 1
    end = int(lines[2] or start) if lines else text.count("\n") + 1
    document.function = Function(
        name=name,
        text=str(document.data),
        tokens=tokens,
        docstring=docstring,
        docstring_tokens=words,
        start_line=start,
        end_line=end,
        is_empty=False,
    )


def _split(row: SourceRow, source: RowSource) -> str | None:
    """The row's split where its source gives one."""
    is_published = source.split == "published"
    value = _text(row, "split") if is_published or isinstance(source, CodeSearchNet) else ""
    if not is_published:
        return None if source.split == "repository" else source.split
    if value not in SPLIT_WORDS and (value or row.file_split is None):
        found = f"{value!r}" if value else "null"
        raise _BadValueError(f"{row.columns['split']}: {found} is not train, validation or test")
    return SPLIT_WORDS[value] if value else row.file_split


def _text(row: SourceRow, field: str) -> str:
    """A value that must be a string or null (the empty string)."""
    value = row.values.get(field)
    if type(value) is str and value.isascii():  # most values
        return value
    if value is None:
        return ""
    if isinstance(value, str | bytes):
        return _checked(row, field, value)
    raise _wrong_type(row, field, value)


def _name(row: SourceRow, field: str, source: RowSource) -> str:
    """Like :func:`_text`; a table of the user's own may have integers as names."""
    value = row.values.get(field)
    if type(value) is int and isinstance(source, FileRows):
        return str(value)
    return _text(row, field)


def _text_list(row: SourceRow, field: str) -> list[str]:
    values = row.values[field]
    if not isinstance(values, list):
        raise _wrong_type(row, field, values, "a list of strings")
    for value in values:
        if not isinstance(value, str):
            raise _wrong_type(row, field, value, "a string of the list")
    return [_checked(row, field, value) for value in values]


def _checked(row: SourceRow, field: str, value: str | bytes) -> str:
    try:
        if isinstance(value, bytes):
            return value.decode()
        if not value.isascii():
            value.encode()
    except UnicodeDecodeError as error:
        raise _BadValueError(f"{row.columns[field]}: not UTF-8") from error
    except UnicodeEncodeError as error:
        raise _BadValueError(f"{row.columns[field]}: a lone surrogate") from error
    return value


def _wrong_type(
    row: SourceRow, field: str, value: object, expected: str = "a string"
) -> _BadValueError:
    found = value.type_name if isinstance(value, Unreadable) else type_name(value)
    return _BadValueError(f"{row.columns[field]}: {found} where {expected} is expected")
