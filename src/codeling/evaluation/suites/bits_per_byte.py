"""The suite ``bits-per-byte``: the negative log-likelihood of any texts, document by document.

The measure is :func:`codeling.evaluation.intrinsic.bits_per_byte`: nats of every token over UTF-8
bytes, with a sliding window for long documents, so models with different tokenizers and context
lengths can be compared. Documents are sampled in random order up to ``max_bytes``.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from codeling.errors import InputError
from codeling.evaluation.data.contamination import (
    DOCUMENT_SHARE,
    TrainingCorpus,
    contamination_summary,
    find_in_training,
)
from codeling.evaluation.data.document_sample import LocatedText, location_label, sample_documents
from codeling.evaluation.data.lookup import DataSources, SuiteData, find_texts
from codeling.evaluation.intrinsic import bits_per_byte
from codeling.evaluation.journal import Journal
from codeling.evaluation.results import Record, Value, scores
from codeling.evaluation.suites.suite import EvaluationSettings, SuiteInputs, engine_settings
from codeling.generation.engine import Engine
from codeling.generation.scoring import scorer_of
from codeling.memory.mixture import MemoryMixture
from codeling.progress import SILENT, Progress

_GROUP_SIZE = 32
"""Documents per journal group."""
_MEASURES = {
    "bits per byte": "nats",
    "bits per byte with memory": "nats_with_memory",
    "bits per byte of the memory alone": "nats_of_memory",
}
"""Score → the key of its nats in a record."""


class BitsPerByteSuite:
    """Bits per byte of unseen text."""

    name = "bits-per-byte"
    summary = "bits per byte of unseen text"
    programs = None
    reads_any_text = True

    def find_data(self, sources: DataSources) -> SuiteData:
        """Any texts, or the run's test split."""
        return find_texts(self.name, "documents", sources)

    def recorded_settings(self, settings: EvaluationSettings, engine: Engine) -> dict[str, Any]:
        """The seed, the amount of text and the machine."""
        return {
            **engine_settings(settings, engine),
            "max_bytes": settings.max_bytes,
            "precision": "float32" if engine.memory else scorer_of(engine).precision,
        }

    def measure(self, inputs: SuiteInputs) -> dict[str, Any]:
        """See :func:`measure`."""
        assert inputs.data.texts is not None, "find_texts gives texts"
        return measure(
            inputs.engine,
            inputs.data.texts(),
            inputs.journal,
            max_bytes=inputs.settings.max_bytes,
            seed=inputs.settings.seed,
            corpus=inputs.corpus,
            progress=inputs.progress,
        )


def measure(
    engine: Engine,
    texts: Iterable[LocatedText],
    journal: Journal,
    *,
    max_bytes: int,
    seed: int = 0,
    corpus: TrainingCorpus | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Score the texts: bits per byte of all, and one record per document.

    With a memory, the model is scored in fp32; otherwise in the engine's precision.

    :raises InputError: there is no text.
    """
    documents = _truncate(sample_documents(texts, seed=seed, max_bytes=max_bytes), max_bytes)
    if not documents:
        raise InputError("bits per byte: there is no text to measure on")

    memory = engine.memory if isinstance(engine.memory, MemoryMixture) else None
    scorer = None if memory else scorer_of(engine)

    def score_group(group: Sequence[tuple[LocatedText, str]]) -> list[Record]:
        group_texts = [text for _, text in group]
        if scorer is None:
            assert memory is not None
            nats = _nats_with_memory(engine, memory, group_texts)
        else:
            bits = bits_per_byte(scorer, engine.tokenizer, group_texts)
            nats = [{"nats": each} for each in bits.document_nats]
        return [
            {
                "task_id": location_label(document),
                "found": find_in_training(corpus, text, DOCUMENT_SHARE),
                "num_bytes": len(text.encode()),
                **of_document,
            }
            for (document, text), of_document in zip(group, nats, strict=True)
        ]

    sizes = [len(text.encode()) for _, text in documents]
    num_done = 0
    with progress.task("bits per byte", total=sum(sizes), unit="bytes") as advance_bytes:

        def advance(number: int) -> None:
            nonlocal num_done
            advance_bytes(sum(sizes[num_done : num_done + number]))
            num_done += number

        records = journal.map_groups(documents, _GROUP_SIZE, score_group, advance)
    return {
        "num_problems": len(records),
        "num_bytes": sum(record["num_bytes"] for record in records),
        "scores": scores(records, _values(records), seed),
        "contamination": contamination_summary(corpus, records),
        "problems": records,
    }


def _values(records: Sequence[Record]) -> list[tuple[str, Value]]:
    """The measures that the records have."""

    def value(key: str) -> Value:
        return lambda record: (record[key] / math.log(2), record["num_bytes"])

    return [(name, value(key)) for name, key in _MEASURES.items() if key in records[0]]


def _nats_with_memory(
    engine: Engine, memory: MemoryMixture, texts: Sequence[str]
) -> list[dict[str, float]]:
    """Nats of each text by the model, with the engine's memory, and by the memory alone.

    Each text is a document of its own: no project is known.
    """
    from codeling.evaluation.memory_scores import ProjectFile, collect
    from codeling.memory.gating.fitting import mix_evidence

    tokenizer = engine.tokenizer
    files = [
        ProjectFile(f"{number:08}", "", np.array([tokenizer.end_of_text, *tokenizer.encode(text)]))
        for number, text in enumerate(texts)
    ]
    names = [name for name in memory.names if name != "project"]
    vocab_size = tokenizer.vocab_size
    found = []
    for evidence in collect(engine.model, files, memory.parameters, memory.corpus, vocab_size):
        nats = {"nats": float(-evidence.model.log_probability.sum(dtype=np.float64))}
        for key, size in (("nats_with_memory", None), ("nats_of_memory", vocab_size)):
            mixed = mix_evidence(evidence, memory.parameters.gates, names, vocab_size=size)
            nats[key] = float(-np.log(mixed.probability).sum())
        found.append(nats)
    return found


def _truncate(documents: Iterable[LocatedText], max_bytes: int) -> list[tuple[LocatedText, str]]:
    """Each document with the part of its text that is scored: ``max_bytes`` of UTF-8 in all."""
    truncated = []
    remaining = max_bytes
    for document in documents:
        data = document.text.encode("utf-8", "replace")[:remaining]
        text = data.decode("utf-8", "ignore")
        remaining -= len(data)
        if text:
            truncated.append((document, text))
    return truncated
