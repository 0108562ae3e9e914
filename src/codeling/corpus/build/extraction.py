"""The second task of a partition: write the rows of both tables for its chosen documents.

This module must not know what is in other partitions.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from codeling.corpus import document as tables
from codeling.corpus.build.heartbeat import Heartbeat
from codeling.corpus.build.row_writer import RowWriter, write_whole
from codeling.corpus.build.survey import text_of
from codeling.corpus.build.work_folder import (
    FILES_SCHEMA,
    FUNCTIONS_SCHEMA,
    count,
    load_context,
)
from codeling.corpus.dedup import exact
from codeling.corpus.extract import ExtractionOptions, Function, extract
from codeling.corpus.filters import rules
from codeling.corpus.readers.partition import position, read_partition
from codeling.corpus.readers.raw_document import RawDocument
from codeling.corpus.redaction.redact import redact
from codeling.corpus.sources.partitions import Partition
from codeling.recipe import CorpusRecipe


@dataclass
class _Counts:
    """Drop reason → [number, bytes]."""

    files_dropped: dict[str, list[int]] = field(default_factory=dict)
    functions_dropped: dict[str, list[int]] = field(default_factory=dict)
    redacted: dict[str, list[int]] = field(default_factory=dict)
    """Kind → [number, documents]."""


def extraction(task: str, settings: str, heartbeat: Heartbeat = lambda _: None) -> str:
    """Extract from a partition given as JSON; return its counts as JSON."""
    partition, context = Partition.from_json(task), load_context(settings)
    heartbeat(partition.name)
    recipe = context.recipe
    number, counts, num_documents, num_bytes = partition.number, _Counts(), 0, 0
    with pa.OSFile(str(context.file("chosen", number))) as file:
        choices = pa.ipc.open_file(file).read_all().to_pylist()
    with (
        write_whole(context.file("files", number)) as files_path,
        write_whole(context.file("functions", number)) as functions_path,
        RowWriter(files_path, FILES_SCHEMA) as files,
        RowWriter(functions_path, FUNCTIONS_SCHEMA) as functions,
    ):
        # A file that changed since the survey may have another number of rows.
        for document, choice in zip(read_partition(partition, recipe), choices, strict=False):
            heartbeat(position(partition, document))
            if choice["split"] < 0:
                continue
            text = text_of(document)
            if text is None:  # changed since the survey
                is_function = document.function is not None
                dropped = counts.functions_dropped if is_function else counts.files_dropped
                count(dropped, "unreadable", document.num_bytes)
                continue
            text, redacted = redact(text, recipe.redaction.kinds, recipe.redaction.seed)
            for kind, found in redacted.items():
                count(counts.redacted, kind, 1, found)
            if redacted and document.function is not None:
                document.function = redacted_function(document.function, text, recipe)
            size = len(text) if text.isascii() else len(text.encode())
            num_documents, num_bytes = num_documents + 1, num_bytes + size
            if document.function is None:
                files.add(_file_row(document, text, size, choice), size)
            for row in _function_rows(document, text, choice, recipe, counts):
                functions.add(row, len(row["whole_func_string"]))
    summary = {"number": number, "documents": num_documents, "bytes": num_bytes, **vars(counts)}
    with write_whole(context.file("extraction", number)) as partial:
        partial.write_text(json.dumps(summary), encoding="utf-8")
    return json.dumps(summary)


def redacted_function(function: Function, text: str, recipe: CorpusRecipe) -> Function:
    """Extract the other columns of a function row again, from its redacted ``text``.

    Without a function in it, tokens and documentation are empty, because the published ones
    contain what was redacted.
    """
    found = next(iter(extract(text, _options(recipe))), None)
    return replace(
        function,
        text=text,
        tokens=found.tokens if found else [],
        docstring=found.docstring if found else "",
        docstring_tokens=found.docstring_tokens if found else [],
    )


def _options(recipe: CorpusRecipe) -> ExtractionOptions:
    return ExtractionOptions(recipe.methods, recipe.docstring_summary, recipe.comment_tokens)


def _file_row(
    document: RawDocument, text: str, size: int, choice: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "repo_name": document.repository,
        "path": document.path,
        "copies": str(choice["copies"]),
        "size": str(size),
        "content": text,
        "license": document.license,
        "url": document.url,
        "python3": choice["python3"],
        "split": choice["split"],
    }


def _function_rows(
    document: RawDocument,
    text: str,
    choice: Mapping[str, Any],
    recipe: CorpusRecipe,
    counts: _Counts,
) -> Iterator[dict[str, Any]]:
    for function in [document.function] if document.function else extract(text, _options(recipe)):
        reason = rules.function_drop_reason(function, recipe, document.path)
        if reason is not None and document.function is None:
            count(counts.functions_dropped, reason, len(function.text.encode()))
            continue
        start, end = function.start_line, function.end_line
        yield {
            "repository_name": document.repository,
            "func_path_in_repository": document.path,
            "func_name": function.name,
            "whole_func_string": function.text,
            "language": "python",
            "func_code_string": function.text,
            "func_code_tokens": function.tokens,
            "func_documentation_string": function.docstring,
            "func_documentation_string_tokens": function.docstring_tokens,
            "split_name": tables.SPLIT_NAMES[tables.SPLITS[choice["split"]]],
            "func_code_url": document.url if document.function else _url(document.url, start, end),
            "license": document.license,
            "start_line": start,
            "end_line": end,
            "python3": choice["python3"],
            "split": choice["split"],
            "digest": exact.digest(function.text),
        }


def _url(url: str, start: int, end: int) -> str:
    """The file's link with its lines; a package URL, which has a ``#``, cannot hold them."""
    return f"{url}#L{start}-L{end}" if url and "#" not in url else url
