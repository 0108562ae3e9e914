"""The corpus from its sources to its folder: the order of the steps, the counts, the report.

List, survey every file (decode, filter, label), keep one of equal files, split by repository,
extract functions from what is kept, keep one of equal functions, write. The two passes over
the files run in :mod:`codeling.corpus.engine`; in here is only what needs all files at once.
Same input, same bytes: rows stand in the listing's order (standard library first, then by
repository and path), and nothing that is written knows the time or this machine.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from codeling.corpus import dedup, document, engine, split
from codeling.corpus.sources import SourceFile, list_files
from codeling.errors import CorpusError
from codeling.manifest import write_json
from codeling.progress import Progress
from codeling.recipe import CorpusRecipe, Folder


@dataclass(frozen=True)
class _Kept:
    """A file that goes into the corpus."""

    file: SourceFile
    split: str
    num_bytes: int
    copies: int
    python3: bool


@dataclass
class _Counts:
    """What the report is made of; each value is [number, bytes of text]."""

    files_dropped: dict[str, list[int]] = field(default_factory=dict)
    functions_dropped: dict[str, list[int]] = field(default_factory=dict)
    files: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    """(repository, split) → files kept."""
    functions: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    """(repository, split) → functions kept."""


def build(recipe: CorpusRecipe, folder: Path, progress: Progress) -> dict[str, Any]:
    """Build the corpus of ``recipe`` in ``folder`` and return its report.

    Writes ``{train,validation,test}/{files,functions}-NNNNN.parquet`` and, last of all,
    ``report.json``; whatever an earlier attempt left of these is removed first.

    :raises UsageError: a folder of the recipe does not exist.
    :raises CorpusError: nothing of the sources is left to train on.
    :raises StorageError: ``folder`` cannot be written.
    """
    listing = list_files(recipe)
    if not listing:
        raise CorpusError(f"no Python in {_names(recipe)}: not one .py file found")
    document.clear(folder)
    with engine.Engine(recipe) as spread:
        return _build(recipe, listing, folder, spread, progress)


def _build(
    recipe: CorpusRecipe,
    listing: Sequence[SourceFile],
    folder: Path,
    spread: engine.Engine,
    progress: Progress,
) -> dict[str, Any]:
    counts = _Counts()
    kept, split_by = _choose(listing, recipe, spread, counts, progress)
    if not kept:
        reasons = ", ".join(
            f"{reason} {number}" for reason, (number, _) in sorted(counts.files_dropped.items())
        )
        raise CorpusError(
            f"no Python in {_names(recipe)} is kept: {len(listing)} files dropped ({reasons})"
        )
    with ExitStack() as stack:
        writers = {
            (name, table): stack.enter_context(document.PartWriter(folder / name, table))
            for name in document.SPLITS
            for table in document.SCHEMAS
        }
        with progress.task("extracting functions", len(kept), "files") as advance:
            for name, files, functions in _tables(kept, spread, counts):
                writers[name, "files"].write(files)
                writers[name, "functions"].write(functions)
                advance(files.num_rows)
    report = _report(listing, kept, split_by, recipe, counts)
    write_json(folder / "report.json", report)
    return report


def _names(recipe: CorpusRecipe) -> str:
    names = (str(s.path) if isinstance(s, Folder) else "what is installed" for s in recipe.sources)
    return ", ".join(names) or "an empty list of sources"


def _choose(
    listing: Sequence[SourceFile],
    recipe: CorpusRecipe,
    spread: engine.Engine,
    counts: _Counts,
    progress: Progress,
) -> tuple[list[_Kept], str]:
    """Survey the listing, drop, keep one of equal files, and split; and by what was split."""
    to_read = [file for file in listing if file.drop_reason is None]
    for file in listing:
        if file.drop_reason is not None:
            _add(counts.files_dropped, file.drop_reason, file.num_bytes)
    verdicts: list[dict[str, Any]] = []
    with progress.task("reading Python", len(to_read), "files") as advance:
        locations, num_bytes = [f.location for f in to_read], sum(f.num_bytes for f in to_read)
        for batch in spread.survey(locations, num_bytes):
            verdicts += batch.to_pylist()
            advance(batch.num_rows)
    digests = [v["digest"] if v["reason"] is None else None for v in verdicts]
    first, copies = dedup.first_copies(digests)
    chosen = []
    for position, (file, verdict) in enumerate(zip(to_read, verdicts, strict=True)):
        if first[position]:
            chosen.append(position)
        else:
            reason = verdict["reason"] or "duplicate"
            _add(counts.files_dropped, reason, verdict["num_bytes"] or file.num_bytes)
    sizes = [
        (to_read[i].repository.project, to_read[i].path, verdicts[i]["num_bytes"]) for i in chosen
    ]
    assigned = split.assign(sizes, recipe.validation_share, recipe.test_share, recipe.seed)
    kept = [
        _Kept(to_read[i], name, verdicts[i]["num_bytes"], copies[i], verdicts[i]["python3"])
        for i, name in zip(chosen, assigned.splits, strict=True)
    ]
    return kept, assigned.by


def _tables(
    kept: Sequence[_Kept], spread: engine.Engine, counts: _Counts
) -> Iterator[tuple[str, pa.RecordBatch, pa.RecordBatch]]:
    """Rows of both tables for runs of files of one split, in order."""
    seen: set[bytes] = set()
    position = 0
    locations, num_bytes = [k.file.location for k in kept], sum(k.num_bytes for k in kept)
    for batch in spread.extraction(locations, num_bytes):
        files = kept[position : position + batch.num_rows]
        position += batch.num_rows
        start = 0
        for end in range(1, len(files) + 1):
            if end == len(files) or files[end].split != files[start].split:
                run, rows = files[start:end], batch.slice(start, end - start)
                yield run[0].split, _files(run, rows, counts), _functions(run, rows, counts, seen)
                start = end
    assert position == len(kept), "the engine lost files"


def _files(run: Sequence[_Kept], rows: pa.RecordBatch, counts: _Counts) -> pa.RecordBatch:
    content = rows.column("content")
    sizes = pc.binary_length(content).to_pylist()
    for item, size in zip(run, sizes, strict=True):
        if size is None:
            _add(counts.files_dropped, "unreadable", item.num_bytes)
        else:
            _add(counts.files, (item.file.repository.name, item.split), size)
    columns = {
        "repo_name": [k.file.repository.name for k in run],
        "path": [k.file.path for k in run],
        "copies": [str(k.copies) for k in run],
        "size": [str(size) for size in sizes],
        "content": content.cast(pa.string()),
        "license": [k.file.repository.license for k in run],
        "url": [k.file.repository.url(k.file.path) for k in run],
        "python3": [k.python3 for k in run],
    }
    batch = pa.RecordBatch.from_pydict(columns, schema=document.FILES_SCHEMA)
    return batch.filter(content.is_valid()) if content.null_count else batch


def _functions(
    run: Sequence[_Kept], rows: pa.RecordBatch, counts: _Counts, seen: set[bytes]
) -> pa.RecordBatch:
    for dropped in rows.column("dropped").to_pylist():
        for reason, (number, num_bytes) in json.loads(dropped).items():
            _add(counts.functions_dropped, reason, num_bytes, number)
    lists = rows.column("functions")
    owners = pc.list_parent_indices(lists).to_pylist()
    found = pa.RecordBatch.from_struct_array(lists.flatten())
    sizes = pc.binary_length(found.column("text")).to_pylist()
    chosen = []
    for i, digest in enumerate(found.column("digest").to_pylist()):
        if digest in seen:
            _add(counts.functions_dropped, "duplicate", sizes[i])
        else:
            seen.add(digest)
            chosen.append(i)
            item = run[owners[i]]
            _add(counts.functions, (item.file.repository.name, item.split), sizes[i])
    found = found.take(pa.array(chosen, pa.int64()))
    items = [run[owners[i]] for i in chosen]
    text = found.column("text").cast(pa.string())
    lines = [found.column(name).to_pylist() for name in ("start_line", "end_line")]
    words = pa.list_(pa.string())
    columns = {
        "repository_name": [k.file.repository.name for k in items],
        "func_path_in_repository": [k.file.path for k in items],
        "func_name": found.column("name").cast(pa.string()),
        "whole_func_string": text,
        "language": ["python"] * len(items),
        "func_code_string": text,
        "func_code_tokens": found.column("tokens").cast(words),
        "func_documentation_string": found.column("docstring").cast(pa.string()),
        "func_documentation_string_tokens": found.column("docstring_tokens").cast(words),
        "split_name": [document.SPLIT_NAMES[k.split] for k in items],
        "func_code_url": [
            _line_url(k.file, start, end) for k, start, end in zip(items, *lines, strict=True)
        ],
        "license": [k.file.repository.license for k in items],
        "start_line": found.column("start_line"),
        "end_line": found.column("end_line"),
        "python3": [k.python3 for k in items],
    }
    return pa.RecordBatch.from_pydict(columns, schema=document.FUNCTIONS_SCHEMA)


def _line_url(file: SourceFile, start: int, end: int) -> str:
    """The file's link with its lines; a package URL has no place for lines."""
    url = file.repository.url(file.path)
    return f"{url}#L{start}-L{end}" if url and "#" not in url else url


def _add(counts: dict[Any, list[int]], key: Any, num_bytes: int, number: int = 1) -> None:
    count = counts.setdefault(key, [0, 0])
    count[0] += number
    count[1] += num_bytes


def _report(
    listing: Sequence[SourceFile],
    kept: Sequence[_Kept],
    split_by: str,
    recipe: CorpusRecipe,
    counts: _Counts,
) -> dict[str, Any]:
    found: dict[str, list[int]] = {}
    for file in listing:
        _add(found, file.repository.name, file.num_bytes)
    repositories = {file.repository.name: file.repository for file in listing}
    sources = [
        {
            "repository": name,
            "project": repository.project,
            "version": repository.version,
            "license": repository.license,
            "splits": [s for s in document.SPLITS if (name, s) in counts.files],
            "files_found": found[name][0],
            "bytes_found": found[name][1],
            **_kept_of([counts.files.get((name, s), [0, 0]) for s in document.SPLITS], "files"),
            **_kept_of([counts.functions.get((name, s), [0, 0]) for s in document.SPLITS]),
        }
        for name, repository in repositories.items()
    ]
    splits = {
        name: {
            "repositories": sum(split_name == name for _, split_name in counts.files),
            **_kept_of([v for (_, s), v in counts.files.items() if s == name], "files"),
            **_kept_of([v for (_, s), v in counts.functions.items() if s == name]),
        }
        for name in document.SPLITS
    }
    return {
        "format": 1,
        "split_by": split_by,
        "split_rule": split.RULE,
        "split_seed": recipe.seed,
        "totals": {
            "repositories": len({k.file.repository.name for k in kept}),
            "files_found": len(listing),
            "bytes_found": sum(file.num_bytes for file in listing),
            **_kept_of(list(counts.files.values()), "files"),
            **_kept_of(list(counts.functions.values())),
        },
        "splits": splits,
        "files_dropped": {
            reason: {"files": number, "bytes": num_bytes}
            for reason, (number, num_bytes) in sorted(counts.files_dropped.items())
        },
        "functions_dropped": {
            reason: {"functions": number, "bytes": num_bytes}
            for reason, (number, num_bytes) in sorted(counts.functions_dropped.items())
        },
        "sources": sources,
    }


def _kept_of(values: Sequence[Sequence[int]], what: str = "functions") -> dict[str, int]:
    num_bytes = "bytes" if what == "files" else "function_bytes"
    return {what: sum(v[0] for v in values), num_bytes: sum(v[1] for v in values)}
