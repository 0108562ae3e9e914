"""Join runs of equal lexemes into passages, and select the passages that matter.

Works on positions only. This module must not know texts, hashes or files.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

MAX_GAP = 16
"""Runs of one document are joined if the next one starts within this many lexemes, in order, in the
text and in the corpus."""
OVERSHADOWED = 0.8
"""A passage is dropped if a longer one covers the same part of the text and it has less than this
share of the longer one's lexemes."""


@dataclass(frozen=True)
class Run:
    """``length`` lexemes, equal in the text from ``text`` and in the corpus from ``corpus``."""

    document: int
    text: int
    corpus: int
    length: int
    occurrences: int
    """Number of occurrences of its rarest fingerprint in the corpus."""


@dataclass(frozen=True)
class Passage:
    """Runs of one document, in the same order in the text and in the corpus."""

    runs: tuple[Run, ...]

    @property
    def document(self) -> int:
        """Number of the document."""
        return self.runs[0].document

    @property
    def num_lexemes(self) -> int:
        """Lexemes that agree."""
        return sum(run.length for run in self.runs)

    def num_lexemes_within(self, span: tuple[int, int]) -> int:
        """Lexemes that agree from lexeme ``span[0]`` of the text to the one before ``span[1]``."""
        begin, end = span
        return sum(
            max(0, min(end, run.text + run.length) - max(begin, run.text)) for run in self.runs
        )

    @property
    def max_occurrences(self) -> int:
        """Number of occurrences of its rarest fingerprint in the corpus."""
        return min(run.occurrences for run in self.runs)

    @property
    def text(self) -> tuple[int, int]:
        """First lexeme in the text, and the one after the last."""
        return self.runs[0].text, self.runs[-1].text + self.runs[-1].length

    @property
    def corpus(self) -> tuple[int, int]:
        """First lexeme in the corpus, and the one after the last."""
        return self.runs[0].corpus, self.runs[-1].corpus + self.runs[-1].length


def join(runs: Iterable[Run]) -> list[Passage]:
    """Join the runs of one document that follow each other within :data:`MAX_GAP` lexemes."""
    chains: dict[int, list[list[Run]]] = {}
    for run in sorted(runs, key=lambda run: (run.text, run.corpus)):
        chains_of_document = chains.setdefault(run.document, [])
        for chain in reversed(chains_of_document):
            rest = _remainder(chain[-1], run)
            if rest:
                chain.append(rest)
                break
        else:
            chains_of_document.append([run])
    return [
        Passage(tuple(chain))
        for chains_of_document in chains.values()
        for chain in chains_of_document
    ]


def _remainder(last: Run, run: Run) -> Run | None:
    """``run`` without its overlap with ``last``; None if it does not continue ``last``."""
    text_gap = run.text - (last.text + last.length)
    corpus_gap = run.corpus - (last.corpus + last.length)
    overlap = max(0, -text_gap, -corpus_gap)
    if max(text_gap, corpus_gap) > MAX_GAP or overlap > MAX_GAP or overlap >= run.length:
        return None
    return replace(
        run, text=run.text + overlap, corpus=run.corpus + overlap, length=run.length - overlap
    )


def best(passages: Iterable[Passage]) -> list[Passage]:
    """Sort by length, then rarity, then corpus order, and drop the dispensable ones.

    A passage is dispensable if a better one of the same document overlaps it in the text, or if a
    longer one overshadows it (:data:`OVERSHADOWED`).
    """
    kept: list[Passage] = []
    for passage in sorted(passages, key=lambda p: (-p.num_lexemes, p.max_occurrences, p.corpus)):
        if not any(_dispensable(passage, better) for better in kept):
            kept.append(passage)
    return kept


def _dispensable(passage: Passage, better: Passage) -> bool:
    begin, end = passage.text
    if better.document == passage.document and better.text[0] < end and begin < better.text[1]:
        return True
    covered = better.text[0] <= begin and end <= better.text[1]
    return covered and passage.num_lexemes < OVERSHADOWED * better.num_lexemes
