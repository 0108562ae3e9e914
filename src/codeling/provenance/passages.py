"""Runs of equal marks to passages: what of a text is one match, and which matches matter.

Positions only; this module must not know texts, hashes or files.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

MAX_GAP = 16
"""Matching runs of one document join where both sides go on within so many marks, in order."""
OVERSHADOWED = 0.8
"""A match is left out where a longer one covers its lines of the text and it has less than this
share of that one's marks."""


@dataclass(frozen=True)
class Run:
    """``length`` marks from ``text`` on equal those of the corpus from ``corpus`` on."""

    document: int
    text: int
    corpus: int
    length: int
    places: int
    """Of the corpus, that hold its rarest fingerprint."""


@dataclass(frozen=True)
class Passage:
    """Runs of one document that follow each other in the text and in the corpus."""

    runs: tuple[Run, ...]

    @property
    def document(self) -> int:
        """Number of the document, the same for all runs."""
        return self.runs[0].document

    @property
    def num_lexemes(self) -> int:
        """Marks that agree."""
        return sum(run.length for run in self.runs)

    @property
    def max_occurrences(self) -> int:
        """Of the corpus, that hold its rarest fingerprint."""
        return min(run.places for run in self.runs)

    @property
    def text(self) -> tuple[int, int]:
        """First mark in the text, and the one after the last."""
        return self.runs[0].text, self.runs[-1].text + self.runs[-1].length

    @property
    def corpus(self) -> tuple[int, int]:
        """First mark in the corpus, and the one after the last."""
        return self.runs[0].corpus, self.runs[-1].corpus + self.runs[-1].length


def join(runs: Iterable[Run]) -> list[Passage]:
    """Join runs of one document where both sides go on in order within :data:`MAX_GAP`."""
    chains: dict[int, list[list[Run]]] = {}
    for run in sorted(runs, key=lambda run: (run.text, run.corpus)):
        of_document = chains.setdefault(run.document, [])
        for chain in reversed(of_document):
            rest = _after(chain[-1], run)
            if rest:
                chain.append(rest)
                break
        else:
            of_document.append([run])
    return [Passage(tuple(chain)) for of_document in chains.values() for chain in of_document]


def _after(last: Run, run: Run) -> Run | None:
    """``run`` less what overlaps ``last``, where it goes on from there; else None."""
    text_gap = run.text - (last.text + last.length)
    corpus_gap = run.corpus - (last.corpus + last.length)
    overlap = max(0, -text_gap, -corpus_gap)
    if max(text_gap, corpus_gap) > MAX_GAP or overlap > MAX_GAP or overlap >= run.length:
        return None
    return replace(
        run, text=run.text + overlap, corpus=run.corpus + overlap, length=run.length - overlap
    )


def best(passages: Iterable[Passage]) -> list[Passage]:
    """Longest first, then rarest, then in corpus order; of one document not twice for the same
    text, and none that a longer one overshadows."""
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
