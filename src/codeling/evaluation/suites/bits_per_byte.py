"""The suite ``bits-per-byte``: any set of texts, document by document.

The measure is that of :mod:`codeling.evaluation.intrinsic`: nats of every token over UTF-8 bytes,
long documents by a sliding window, so neither the tokenizer nor the context's length decides who
is compared with whom. Documents are taken in an order drawn from the seed until ``max_bytes``.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

from codeling.errors import InputError
from codeling.evaluation.data.contamination import DOCUMENT_SHARE, TrainingCorpus, look_up, summary
from codeling.evaluation.data.document_sample import Located, draw
from codeling.evaluation.intrinsic import Precision, bits_per_byte
from codeling.evaluation.journal import Journal
from codeling.evaluation.results import Record, scores
from codeling.generation.engine import Engine
from codeling.progress import SILENT, Progress

_GROUP = 32
"""Documents scored between two notes in the journal."""


def measure(
    engine: Engine,
    texts: Iterable[Located],
    journal: Journal,
    *,
    max_bytes: int,
    seed: int = 0,
    batch_size: int = 16,
    precision: Precision = "fp32",
    corpus: TrainingCorpus | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Score the texts: bits per byte of all, and a record of each document.

    :raises InputError: there is no text.
    """
    kept = _cut_to(draw(texts, seed=seed, max_bytes=max_bytes), max_bytes)
    if not kept:
        raise InputError("bits per byte: there is no text to measure on")
    sizes = [len(text.encode()) for _, text in kept]

    def score_group(group: Sequence[tuple[Located, str]]) -> list[Record]:
        bits = bits_per_byte(
            engine.model,
            engine.tokenizer,
            [text for _, text in group],
            batch_size=batch_size,
            precision=precision,
        )
        return [
            {
                "task_id": f"{document.repository}: {document.path}:{document.start_line}",
                "found": look_up(corpus, text, DOCUMENT_SHARE),
                "nats": nats,
                "num_bytes": num_bytes,
            }
            for (document, text), nats, num_bytes in zip(
                group, bits.document_nats, bits.document_bytes, strict=True
            )
        ]

    with progress.task("bits per byte", total=sum(sizes), unit="bytes") as advance:
        at = itertools.count()

        def note(number: int) -> None:
            advance(sum(sizes[index] for index in itertools.islice(at, number)))

        records = journal.map_groups(kept, _GROUP, score_group, note)
    return {
        "num_problems": len(records),
        "num_bytes": sum(record["num_bytes"] for record in records),
        "scores": scores(
            records,
            [("bits per byte", lambda r: (r["nats"] / math.log(2), r["num_bytes"]))],
            seed,
        ),
        "contamination": summary(corpus, records),
        "problems": records,
    }


def _cut_to(documents: Iterable[Located], max_bytes: int) -> list[tuple[Located, str]]:
    """The documents with the text that counts, ``max_bytes`` of UTF-8 together at most."""
    kept = []
    left = max_bytes
    for document in documents:
        data = document.text.encode("utf-8", "replace")[:left]
        text = data.decode("utf-8", "ignore")
        left -= len(data)
        if text:
            kept.append((document, text))
    return kept
