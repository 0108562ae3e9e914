"""Bits per byte of held-out text, and the contents of a run's ``evaluation.json``.

Bits per byte is the negative log-likelihood of whole documents over their UTF-8 bytes, so models
with different tokenizers can be compared. A document starts after ``<|endoftext|>``, which is
context and not scored. A document longer than the context is read in windows that advance by half a
context. Every token is scored exactly once, and after the first window with at least half a context
before it. The interval is a percentile bootstrap over documents (Efron and Tibshirani 1993).

This module must not write files.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codeling.errors import InputError
from codeling.evaluation.data.document_sample import LocatedText, sample_documents
from codeling.evaluation.parse_rate import parse_rate
from codeling.generation.engine import Engine
from codeling.generation.scoring import Scorer, Window, scorer_of, windows
from codeling.manifest import sha256_file
from codeling.model.folder import WEIGHTS
from codeling.progress import SILENT, Progress
from codeling.recipe import EvaluationRecipe
from codeling.tokenizer.tokenizer import Tokenizer

RESAMPLES = 2000
"""Bootstrap resamples; Efron and Tibshirani recommend at least 1000 for a 95 % interval."""
_GROUP = 256
"""Windows that are scored together."""


@dataclass(frozen=True)
class BitsPerByte:
    """Negative log-likelihood of documents."""

    document_nats: tuple[float, ...]
    """Nats of each document."""
    document_bytes: tuple[int, ...]
    """UTF-8 bytes of each document."""
    num_tokens: int
    """Scored tokens."""

    @property
    def nats(self) -> float:
        """Negative log-likelihood of all documents in nats."""
        return math.fsum(self.document_nats)

    @property
    def num_bytes(self) -> int:
        """UTF-8 bytes of all documents."""
        return sum(self.document_bytes)

    @property
    def num_documents(self) -> int:
        """Scored documents; documents without text do not count."""
        return len(self.document_bytes)

    @property
    def value(self) -> float:
        """Bits per byte."""
        return self.nats / math.log(2) / self.num_bytes

    def interval(self, seed: int, resamples: int = RESAMPLES) -> tuple[float, float] | None:
        """95 % interval of :attr:`value` over samples of such documents; None for one document."""
        if self.num_documents < 2:
            return None
        nats, num_bytes = np.array(self.document_nats), np.array(self.document_bytes)
        generator = np.random.Generator(np.random.PCG64(seed))
        values = np.empty(resamples)
        for number in range(resamples):
            rows = generator.integers(len(nats), size=len(nats))
            values[number] = nats[rows].sum() / math.log(2) / num_bytes[rows].sum()
        low, high = np.quantile(values, [0.025, 0.975]).tolist()
        return low, high


def evaluate_test_split(
    engine: Engine,
    model_folder: Path,
    documents: Iterable[LocatedText],
    functions: Iterable[LocatedText],
    settings: EvaluationRecipe,
    progress: Progress = SILENT,
    *,
    split_name: str = "test",
) -> dict[str, Any]:
    """The contents of ``evaluation.json``, from held-out ``documents`` and ``functions``.

    ``engine`` was loaded from ``model_folder``; the SHA-256 of its weights is recorded.

    :raises InputError: ``documents`` has no text.
    """
    split = _SplitSize()
    sample = sample_documents(
        split.counted(documents), seed=settings.seed, max_bytes=settings.max_bytes
    )
    scorer = scorer_of(engine)
    bits = bits_per_byte(
        scorer,
        engine.tokenizer,
        (document.text for document in sample),
        max_bytes=settings.max_bytes,
        progress=progress,
    )
    result: dict[str, Any] = {
        "format": 1,
        "model_sha256": sha256_file(model_folder / WEIGHTS),
        "settings": settings.model_dump(mode="json"),
        "bits_per_byte": {
            "value": bits.value,
            "interval_95": bits.interval(settings.seed),
            "nats": bits.nats,
            "nats_per_token": bits.nats / bits.num_tokens,
            "num_bytes": bits.num_bytes,
            "num_tokens": bits.num_tokens,
            "num_documents": bits.num_documents,
            "num_repositories": len({document.repository for document in sample}),
            "precision": "fp32" if scorer.precision == "float32" else scorer.precision,
            "split": {
                "name": split_name,
                "num_bytes": split.num_bytes,
                "num_documents": split.num_documents,
                "num_repositories": len(split.repositories),
            },
        },
        "parse_rate": None,
    }
    if settings.completions:
        rate = parse_rate(
            engine,
            functions,
            completions=settings.completions,
            progress=progress,
            **settings.options,
        )
        if rate.samples:
            result["parse_rate"] = {
                "value": rate.value,
                "interval_95": rate.interval(settings.seed),
                "num_functions": rate.num_functions,
                "num_completions": len(rate.samples),
                "num_parsed": rate.count("parsed"),
                "num_stub": rate.count("stub"),
                "num_broken": rate.count("broken"),
                "num_empty": rate.count("empty"),
                "num_out_of_tokens": sum(s.finish_reason == "length" for s in rate.samples),
                "samples": [asdict(sample) for sample in rate.samples],
            }
    return result


class _SplitSize:
    """Size of the split that the sample is drawn from, counted while it is read."""

    def __init__(self) -> None:
        self.num_bytes = 0
        self.num_documents = 0
        self.repositories: set[str] = set()

    def counted(self, documents: Iterable[LocatedText]) -> Iterator[LocatedText]:
        for document in documents:
            self.num_bytes += len(_utf8(document.text))
            self.num_documents += 1
            self.repositories.add(document.repository)
            yield document


def bits_per_byte(
    scorer: Scorer,
    tokenizer: Tokenizer,
    documents: Iterable[str],
    *,
    max_bytes: int | None = None,
    progress: Progress = SILENT,
) -> BitsPerByte:
    """Score ``documents`` in order, at most ``max_bytes`` of UTF-8.

    The document that exceeds ``max_bytes`` is cut before the character that does.

    :raises InputError: there is no text.
    """
    nats: list[float] = []
    sizes: list[int] = []
    num_tokens = 0
    with progress.task("bits per byte", total=max_bytes, unit="bytes") as advance:
        reading = _windows_of(tokenizer, documents, max_bytes, scorer.context_length, sizes)
        done = 0
        while group := list(itertools.islice(reading, _GROUP)):
            nats.extend([0.0] * (len(sizes) - len(nats)))
            scores = scorer.nats([window for _, window in group])
            for (document, window), of_window in zip(group, scores, strict=True):
                nats[document] += of_window
                num_tokens += len(window.targets) - window.num_context
            advance(sum(sizes) - done)
            done = sum(sizes)
    if not sizes:
        raise InputError("bits per byte: there is no text in the split to measure on")
    return BitsPerByte(tuple(nats), tuple(sizes), num_tokens)


def _windows_of(
    tokenizer: Tokenizer,
    documents: Iterable[str],
    max_bytes: int | None,
    context_length: int,
    sizes: list[int],
) -> Iterator[tuple[int, Window]]:
    """The windows of all documents, each with the number of its document.

    Appends the bytes of each document to ``sizes``.
    """
    left = max_bytes
    for text in documents:
        data = _utf8(text)
        if left is not None:
            data = data[:left].decode("utf-8", "ignore").encode() if len(data) > left else data
            left -= len(data)
        if data:
            number = len(sizes)
            sizes.append(len(data))
            ids = tokenizer.encode(data.decode())
            sequence = [tokenizer.end_of_text, *ids]
            for begin, end, first in windows(len(ids), context_length):
                yield number, Window(sequence[begin:end], ids[begin:end], first - begin)
        if left is not None and len(_utf8(text)) > len(data):
            return


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")
