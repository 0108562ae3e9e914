"""The first task of a partition: read and judge every document, leave a compact row of each.

Once the rows of all partitions are known, the pipeline chooses the documents and the extraction
reads those again. This module must not know what is in other partitions.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass

from codeling import source_text
from codeling.corpus.build.heartbeat import Heartbeat
from codeling.corpus.build.row_writer import RowWriter, write_whole
from codeling.corpus.build.work_folder import SURVEY_SCHEMA, BuildContext, load_context
from codeling.corpus.dedup import exact, minhash, shared_passages
from codeling.corpus.filters import keywords, rules
from codeling.corpus.filters.language import parses_as_python3
from codeling.corpus.filters.subsample import is_sampled
from codeling.corpus.readers.partition import position, read_partition
from codeling.corpus.readers.raw_document import RawDocument
from codeling.corpus.redaction.redact import redact
from codeling.corpus.sources.partitions import Partition
from codeling.recipe import CorpusRecipe

_BATCH_ROWS, _BATCH_BYTES = 64, 1_000_000
"""Documents are sketched, fingerprinted and searched for problems in batches, which is faster."""


@dataclass
class SurveyRow:
    """The survey's findings about one document; see :data:`SURVEY_SCHEMA`."""

    reason: str | None = None
    detail: str | None = None
    num_bytes: int = 0
    digest: bytes | None = None
    python3: bool = False
    sketch: bytes | None = None
    tokens: int | None = None
    fingerprints: bytes | None = None
    hits: str | None = None
    has_keyword: bool | None = None


def survey(task: str, settings: str, heartbeat: Heartbeat = lambda _: None) -> str:
    """Survey a partition given as JSON; return its counts as JSON.

    ``documents`` and ``bytes`` as found, ``searched`` for keywords, and ``hits`` among these.
    """
    partition, context = Partition.from_json(task), load_context(settings)
    heartbeat(partition.name)
    num_documents = num_bytes = num_searched = num_hits = 0
    path = context.file("survey", partition.number)
    with write_whole(path) as partial, RowWriter(partial, SURVEY_SCHEMA) as rows:
        for batch in _judged_batches(partition, context, heartbeat):
            sketch_and_search([(row, text) for _, row, text in batch], context)
            for document, row, _ in batch:
                values = {
                    "row": document.row,
                    "repository": document.repository,
                    "path": document.path,
                    "found_bytes": document.num_bytes,
                    "copies": document.copies,
                    "split": document.split,
                    **vars(row),
                }
                rows.add(values, num_bytes=0)
                num_documents += 1
                num_bytes += document.num_bytes
                num_searched += row.has_keyword is not None
                num_hits += row.has_keyword is True
    return json.dumps(
        {
            "number": partition.number,
            "documents": num_documents,
            "bytes": num_bytes,
            "searched": num_searched,
            "hits": num_hits,
        }
    )


_Judged = tuple[RawDocument, SurveyRow, str]
"""A document, its row so far, and its text as it would be kept (empty if dropped)."""


def _judged_batches(
    partition: Partition, context: BuildContext, heartbeat: Heartbeat
) -> Iterator[list[_Judged]]:
    batch: list[_Judged] = []
    num_bytes = 0
    for document in read_partition(partition, context.recipe):
        heartbeat(position(partition, document))
        row, text = judge(document, partition, context)
        document.data = None
        batch.append((document, row, text))
        num_bytes += len(text)
        if len(batch) == _BATCH_ROWS or num_bytes >= _BATCH_BYTES:
            yield batch
            batch, num_bytes = [], 0
    yield batch


def sketch_and_search(documents: Sequence[tuple[SurveyRow, str]], context: BuildContext) -> None:
    """Drop the documents that hold a benchmark problem; sketch and fingerprint the others."""
    kept = [(row, text) for row, text in documents if row.reason is None]
    if context.contamination is not None:
        hits_of_each = context.contamination.search([text for _, text in kept])
        for (row, _), hits in zip(kept, hits_of_each, strict=True):
            if hits:
                row.reason, row.digest = "contaminated", None
                row.hits = json.dumps([astuple(hit) for hit in hits])
        kept = [(row, text) for row, text in kept if row.reason is None]
    if context.recipe.near_duplicates.enabled:
        sketches = minhash.sketches([text for _, text in kept])
        for (row, _), sketch in zip(kept, sketches, strict=True):
            row.sketch = sketch.tobytes()
    fingerprints, counts = shared_passages.fingerprint([text for _, text in kept])
    for (row, _), of_one, count in zip(kept, fingerprints, counts.tolist(), strict=True):
        row.fingerprints, row.tokens = of_one.tobytes(), count


def judge(
    document: RawDocument, partition: Partition, context: BuildContext
) -> tuple[SurveyRow, str]:
    """Apply the filters that look at one document; return its row, and its text if it is kept."""
    recipe, row = context.recipe, SurveyRow(document.reason, document.detail)
    drawn = True
    if partition.shard is not None:
        weight = recipe.sources[partition.shard.source].weight
        drawn = is_sampled(recipe.seed, f"{partition.shard.name}:{document.row}", weight)
    if drawn:
        row.has_keyword = _has_keyword(document, recipe)
    if context.opt_out.excludes_repository(document.repository):
        return SurveyRow("opted_out", has_keyword=row.has_keyword), ""
    if row.reason is None and not drawn:
        return SurveyRow("not_drawn"), ""
    if row.reason is None:
        has_path = partition.shard is None or document.path != position(partition, document)
        path = document.path if has_path else ""
        document.reason = rules.drop_reason_unread(path, document.license, recipe)
    text = text_of(document)
    row.reason = document.reason
    if text is None:
        return row, ""
    row.num_bytes = len(text) if text.isascii() else len(text.encode())
    if context.opt_out.hashes and context.opt_out.excludes_content(document.data or b"", text):
        row.reason = "opted_out"
    elif document.function is not None:
        row.reason = rules.function_drop_reason(document.function, recipe, document.path)
        row.reason = row.reason if text.strip() else "empty"
    else:
        row.reason = rules.drop_reason(text, recipe)
    if row.reason is not None:
        return row, ""
    text, redacted = redact(text, recipe.redaction.kinds, recipe.redaction.seed)
    if redacted:
        row.num_bytes = len(text.encode())
    row.python3 = parses_as_python3(text)
    if recipe.require_python3 and not row.python3:
        row.reason = "not_python3"
    row.digest = exact.digest(text)
    return row, text


def _has_keyword(document: RawDocument, recipe: CorpusRecipe) -> bool | None:
    """Whether a file holds a keyword, whatever the other filters say; None if it has no text.

    Functions are not searched.
    """
    if not recipe.keywords or document.function is not None:
        return None
    if document.mentions_keyword is False:
        return False
    text = document.data
    if isinstance(text, bytes):
        try:
            text = source_text.decode(text)
        except source_text.UndecodableError:
            return None
    if text is None:
        return document.mentions_keyword if recipe.keywords_in == "text" else None
    if recipe.keywords_in == "imports":
        return keywords.imports(text, recipe.keywords)
    return document.mentions_keyword or keywords.mentions(text, recipe.keywords)


def text_of(document: RawDocument) -> str | None:
    """Return the document's text, or None with its drop reason set."""
    if document.reason is None and isinstance(document.data, bytes):
        try:
            return source_text.decode(document.data)
        except source_text.UndecodableError as error:
            document.reason = str(error)
    has_text = document.reason is None and isinstance(document.data, str)
    return str(document.data) if has_text else None
