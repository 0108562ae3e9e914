"""Whether a problem stands in the training corpus: looked up in the run's provenance index.

A problem counts as found where a passage of it of at least :data:`~codeling.provenance.winnowing.
GUARANTEE` marks (32, about three lines) stands in a training document too; every such passage is
found (see there). Long documents, which share a licence header with many, count as found only
where passages of one training document make up :data:`DOCUMENT_SHARE` of them. Scores are given
with and without what was found. This module must not know what is scored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeling.manifest import sha256_file
from codeling.provenance.index import INDEX_NAME, Index

MAX_PLACES_NAMED = 3
"""Training documents named for a problem."""
DOCUMENT_SHARE = 0.5
"""Of a document's marks, in one match, from which on the document counts as known."""


@dataclass(frozen=True)
class TrainingCorpus:
    """What a model was trained on, as far as it can be looked up."""

    index: Index
    sha256: str
    """Of the index."""

    @classmethod
    def of(cls, folder: Path) -> "TrainingCorpus | None":
        """That of a run folder; None where it has no index.

        :raises InputError: the index is broken.
        """
        path = folder / "provenance" / INDEX_NAME
        if not path.is_file():
            return None
        return cls(Index.load(path.parent), sha256_file(path))

    def places(self, text: str, min_share: float = 0.0) -> list[dict[str, Any]]:
        """Where passages of ``text`` stand in the training data, the longest first."""
        return [
            {
                "lines": [match.text_start_line, match.text_end_line],
                "repository": match.repository,
                "path": match.path,
                "start_line": match.start_line,
                "end_line": match.end_line,
                "license": match.license,
                "num_marks": match.num_lexemes,
                "share": match.share,
            }
            for match in self.index.trace(text, limit=MAX_PLACES_NAMED)
            if match.share >= min_share
        ]


def look_up(
    corpus: TrainingCorpus | None, text: str, min_share: float = 0.0
) -> list[dict[str, Any]] | None:
    """Where ``text`` stands in the training data; None where that cannot be known."""
    return None if corpus is None else corpus.places(text, min_share)


def summary(corpus: TrainingCorpus | None, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How many problems were found, for a result."""
    if corpus is None:
        return {"index_sha256": None, "num_found": None}
    return {
        "index_sha256": corpus.sha256,
        "num_found": sum(bool(record["found"]) for record in records),
    }
