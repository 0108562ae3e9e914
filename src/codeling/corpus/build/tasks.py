"""What is done with one partition, in a worker of the engine: survey it, or extract from it.

The survey reads, judges and hashes every document and leaves a compact record of each
(``survey-NNNNN.arrow``). Once all records are known, the pipeline says which documents are kept
(``chosen-NNNNN.arrow``), and the extraction reads those again and leaves their rows of both
tables. Every file is written beside its place and renamed, and is the same whoever writes it and
how often; so a task that was cut off is simply done again. The work folder has to be seen by
every worker. This module must not know what is in other partitions.
"""

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from codeling import source_text
from codeling.corpus import document
from codeling.corpus.build.row_writer import RowWriter, placed
from codeling.corpus.decontamination import problem_sets
from codeling.corpus.decontamination.decontaminate import Contamination
from codeling.corpus.dedup import exact, minhash
from codeling.corpus.extract import ExtractionOptions, Function, extract
from codeling.corpus.filters import keywords, rules
from codeling.corpus.filters.language import parses_as_python3
from codeling.corpus.filters.opt_out import OptOut
from codeling.corpus.filters.subsample import is_sampled
from codeling.corpus.readers.items import OutsideSlice, RawDocument, items, place
from codeling.corpus.redaction.redact import redact
from codeling.corpus.sources.partitions import Partition
from codeling.recipe import CorpusRecipe

SURVEY_SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("repository", pa.string()),
        ("path", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("found_bytes", pa.int64()),
        ("num_bytes", pa.int64()),
        ("digest", pa.binary(exact.DIGEST_BYTES)),
        ("python3", pa.bool_()),
        ("copies", pa.int64()),
        ("split", pa.string()),
        ("sketch", pa.binary(minhash.SKETCH_BYTES)),
        ("hits", pa.string()),
    ]
)
"""One row a document: drop reason or null and what to say of it, bytes as found and of its text
in UTF-8, digest, label, copies it stands for, published split or null, sketch or null, problems
found in it (JSON) or null."""

CHOSEN_SCHEMA = pa.schema([("split", pa.int8()), ("copies", pa.int64()), ("python3", pa.bool_())])
"""One row a document: index into :data:`codeling.corpus.document.SPLITS`, or -1 if dropped."""

FILES_SCHEMA = document.FILES_SCHEMA.append(pa.field("split", pa.int8()))
FUNCTIONS_SCHEMA = document.FUNCTIONS_SCHEMA.append(pa.field("split", pa.int8())).append(
    pa.field("digest", pa.binary(exact.DIGEST_BYTES))
)
_COMPARED_ROWS, _COMPARED_BYTES = 64, 1_000_000
"""Documents looked at together where that is faster than one by one."""


@dataclass(frozen=True)
class BuildContext:
    """What all tasks of one build are given."""

    recipe: CorpusRecipe
    folder: Path
    """The work folder."""
    opt_out: OptOut
    contamination: Contamination | None

    def file(self, kind: str, number: int) -> Path:
        """A partition's file of the work folder."""
        return work_file(self.folder, kind, number)


def work_file(folder: Path, kind: str, number: int) -> Path:
    """Where a partition's file lies: its ``survey``, ``chosen``, ``files``, ``functions`` (all
    Arrow IPC) or ``extraction`` (JSON, written last)."""
    return folder / f"{kind}-{number:05d}{'.json' if kind == 'extraction' else '.arrow'}"


@dataclass
class SurveyRow:
    """What the survey says of one document."""

    reason: str | None = None
    detail: str | None = None
    num_bytes: int = 0
    digest: bytes | None = None
    python3: bool = False
    sketch: bytes | None = None
    hits: str | None = None


def survey(task: str, settings: str) -> str:
    """Survey a partition given as JSON; how many documents and bytes of text it has, as JSON."""
    partition, context = Partition.from_json(task), _context(settings)
    documents = num_bytes = 0
    path = context.file("survey", partition.number)
    with placed(path) as partial, RowWriter(partial, SURVEY_SCHEMA) as rows:
        for batch in _judged(partition, context):
            if isinstance(batch, OutsideSlice):
                rows.extend(_columns_outside(batch, context))
                documents += len(batch.rows)
                continue
            compare([(verdict, text) for _, verdict, text in batch], context)
            for item, verdict, _ in batch:
                rows.add(
                    {
                        "row": item.row,
                        "repository": item.repository,
                        "path": item.path,
                        "found_bytes": item.num_bytes,
                        "copies": item.copies,
                        "split": item.split,
                        **vars(verdict),
                    },
                    num_bytes=0,
                )
                documents += 1
                num_bytes += verdict.num_bytes
    return json.dumps({"number": partition.number, "documents": documents, "bytes": num_bytes})


def _columns_outside(passed: OutsideSlice, context: BuildContext) -> Mapping[str, pa.Array]:
    """The survey's rows of what was told to be outside of the slice as a column."""
    number, reason = len(passed.rows), keywords.reason(context.recipe)
    reasons = pa.repeat(reason, number)
    if context.opt_out.repositories:
        named = [context.opt_out.names(name) for name in passed.repositories.to_pylist()]
        reasons = pc.if_else(pa.array(named, pa.bool_()), "opted_out", reasons)
    return {
        "row": passed.rows,
        "repository": passed.repositories,
        "path": passed.paths,
        "reason": reasons,
        "found_bytes": passed.num_bytes,
        "num_bytes": pa.repeat(pa.scalar(0, pa.int64()), number),
        "python3": pa.repeat(pa.scalar(False), number),
        "copies": pa.repeat(pa.scalar(1, pa.int64()), number),
    }


Judged = tuple[RawDocument, SurveyRow, str]
"""A document, what is said of it so far, and its text as it would be kept (empty if dropped)."""


def _judged(partition: Partition, context: BuildContext) -> Iterator[list[Judged] | OutsideSlice]:
    """The documents of a partition, some at a time, in their order."""
    batch: list[Judged] = []
    num_bytes = 0
    for item in items(partition, context.recipe):
        if isinstance(item, OutsideSlice):
            yield batch
            yield item
            batch, num_bytes = [], 0
            continue
        verdict, text = judge(item, partition, context)
        item.data = None
        batch.append((item, verdict, text))
        num_bytes += len(text)
        if len(batch) == _COMPARED_ROWS or num_bytes >= _COMPARED_BYTES:
            yield batch
            batch, num_bytes = [], 0
    yield batch


def compare(documents: Sequence[tuple[SurveyRow, str]], context: BuildContext) -> None:
    """Look for problems in the documents that are kept so far, and sketch them."""
    kept = [(verdict, text) for verdict, text in documents if verdict.reason is None]
    if context.contamination is not None:
        for (verdict, _), hits in zip(
            kept, context.contamination.search([text for _, text in kept]), strict=True
        ):
            if hits:
                verdict.reason, verdict.digest = "contaminated", None
                verdict.hits = json.dumps([astuple(hit) for hit in hits])
        kept = [(verdict, text) for verdict, text in kept if verdict.reason is None]
    if context.recipe.near_duplicates.enabled:
        for (verdict, _), row in zip(
            kept, minhash.sketches([text for _, text in kept]), strict=True
        ):
            verdict.sketch = row.tobytes()


def judge(item: RawDocument, partition: Partition, context: BuildContext) -> tuple[SurveyRow, str]:
    """What can be said of a document by itself, and its text if it is kept so far."""
    recipe, verdict = context.recipe, SurveyRow(item.reason, item.detail)
    if context.opt_out.names(item.repository):
        return SurveyRow("opted_out"), ""
    if partition.shard is not None and verdict.reason is None:
        weight = recipe.sources[partition.shard.source].weight
        if not is_sampled(recipe.seed, f"{partition.shard.name}:{item.row}", weight):
            return SurveyRow("not_drawn"), ""
    if verdict.reason is None:
        of_its_own = partition.shard is None or item.path != place(partition, item)
        path = item.path if of_its_own else ""
        item.reason = rules.drop_reason_unread(path, item.license, recipe)
    text = text_of(item)
    verdict.reason = item.reason
    if text is None:
        return verdict, ""
    verdict.num_bytes = len(text) if text.isascii() else len(text.encode())
    if context.opt_out.hashes and context.opt_out.holds(item.data or b"", text):
        verdict.reason = "opted_out"
    elif item.function is not None:
        verdict.reason = rules.function_drop_reason(item.function, recipe, item.path)
        verdict.reason = verdict.reason if text.strip() else "empty"
    else:
        verdict.reason = rules.drop_reason(text, recipe)
    if verdict.reason is not None:
        return verdict, ""
    text, redacted = redact(text, recipe.redaction.kinds, recipe.redaction.seed)
    if redacted:
        verdict.num_bytes = len(text.encode())
    verdict.python3 = parses_as_python3(text)
    if recipe.require_python3 and not verdict.python3:
        verdict.reason = "not_python3"
    verdict.digest = exact.digest(text)
    return verdict, text


def text_of(item: RawDocument) -> str | None:
    """The document's text, or None with its drop reason set."""
    if item.reason is None and isinstance(item.data, bytes):
        try:
            return source_text.decode(item.data)
        except source_text.UndecodableError as error:
            item.reason = str(error)
    return item.data if item.reason is None and isinstance(item.data, str) else None


@dataclass
class _Extracted:
    """What an extraction counts: drop reason → [number, bytes]."""

    files_dropped: dict[str, list[int]] = field(default_factory=dict)
    functions_dropped: dict[str, list[int]] = field(default_factory=dict)
    redacted: dict[str, list[int]] = field(default_factory=dict)
    """Kind → [number, documents]."""


def extraction(task: str, settings: str) -> str:
    """Leave the rows of both tables for the chosen documents of a partition given as JSON."""
    partition, context = Partition.from_json(task), _context(settings)
    recipe = context.recipe
    number, counts, documents, num_bytes = partition.number, _Extracted(), 0, 0
    with pa.OSFile(str(context.file("chosen", number))) as file:
        chosen = pa.ipc.open_file(file).read_all().to_pylist()
    with (
        placed(context.file("files", number)) as files_path,
        placed(context.file("functions", number)) as functions_path,
        RowWriter(files_path, FILES_SCHEMA) as files,
        RowWriter(functions_path, FUNCTIONS_SCHEMA) as functions,
    ):
        choices = iter(chosen)
        for item in items(partition, context.recipe):
            if isinstance(item, OutsideSlice):
                deque(islice(choices, len(item.rows)), 0)
                continue
            choice = next(choices, None)
            if choice is None or choice["split"] < 0:
                continue
            text = text_of(item)
            if text is None:  # it was readable a moment ago
                dropped = counts.functions_dropped if item.function else counts.files_dropped
                count(dropped, "unreadable", item.num_bytes)
                continue
            text, redacted = redact(text, recipe.redaction.kinds, recipe.redaction.seed)
            for kind, found in redacted.items():
                count(counts.redacted, kind, 1, found)
            if redacted and item.function is not None:
                item.function = redacted_function(item.function, text, recipe)
            size = len(text) if text.isascii() else len(text.encode())
            documents, num_bytes = documents + 1, num_bytes + size
            if item.function is None:
                files.add(_file_row(item, text, size, choice), size)
            for row in _function_rows(item, text, choice, context.recipe, counts):
                functions.add(row, len(row["whole_func_string"]))
    summary = {"number": number, "documents": documents, "bytes": num_bytes, **vars(counts)}
    with placed(context.file("extraction", number)) as partial:
        partial.write_text(json.dumps(summary), encoding="utf-8")
    return json.dumps(summary)


def redacted_function(function: Function, text: str, recipe: CorpusRecipe) -> Function:
    """A row of functions whose text was redacted: its other columns are cut out of ``text``.

    Where no function is found in it, tokens and documentation are left empty, for the published
    ones hold what was redacted.
    """
    found = next(iter(extract(text, _switches(recipe))), None)
    return replace(
        function,
        text=text,
        tokens=found.tokens if found else [],
        docstring=found.docstring if found else "",
        docstring_tokens=found.docstring_tokens if found else [],
    )


def _switches(recipe: CorpusRecipe) -> ExtractionOptions:
    return ExtractionOptions(recipe.methods, recipe.docstring_summary, recipe.comment_tokens)


def _file_row(item: RawDocument, text: str, size: int, choice: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "repo_name": item.repository,
        "path": item.path,
        "copies": str(choice["copies"]),
        "size": str(size),
        "content": text,
        "license": item.license,
        "url": item.url,
        "python3": choice["python3"],
        "split": choice["split"],
    }


def _function_rows(
    item: RawDocument,
    text: str,
    choice: Mapping[str, Any],
    recipe: CorpusRecipe,
    counts: _Extracted,
) -> Iterator[dict[str, Any]]:
    for function in [item.function] if item.function else extract(text, _switches(recipe)):
        reason = rules.function_drop_reason(function, recipe, item.path)
        if reason is not None and item.function is None:
            count(counts.functions_dropped, reason, len(function.text.encode()))
            continue
        start, end = function.start_line, function.end_line
        yield {
            "repository_name": item.repository,
            "func_path_in_repository": item.path,
            "func_name": function.name,
            "whole_func_string": function.text,
            "language": "python",
            "func_code_string": function.text,
            "func_code_tokens": function.tokens,
            "func_documentation_string": function.docstring,
            "func_documentation_string_tokens": function.docstring_tokens,
            "split_name": document.SPLIT_NAMES[document.SPLITS[choice["split"]]],
            "func_code_url": item.url if item.function else _line_url(item.url, start, end),
            "license": item.license,
            "start_line": start,
            "end_line": end,
            "python3": choice["python3"],
            "split": choice["split"],
            "digest": exact.digest(function.text),
        }


def _line_url(url: str, start: int, end: int) -> str:
    """The file's link with its lines; a package URL has no place for lines."""
    return f"{url}#L{start}-L{end}" if url and "#" not in url else url


def count(counts: dict[str, list[int]], reason: str, num_bytes: int, number: int = 1) -> None:
    """Add to the [number, bytes] of a drop reason."""
    values = counts.setdefault(reason, [0, 0])
    values[0] += number
    values[1] += num_bytes


@lru_cache(maxsize=1)
def _context(settings: str) -> BuildContext:
    values = json.loads(settings)
    folder = Path(values["folder"])
    problems = problem_sets.load(folder / "problems.json")
    return BuildContext(
        CorpusRecipe.model_validate(values["recipe"]),
        folder,
        OptOut.load(folder / "opt-out.json"),
        Contamination(problems) if problems else None,
    )


TASKS: dict[str, Callable[[str, str], str]] = {"survey": survey, "extraction": extraction}
