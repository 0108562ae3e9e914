"""The problems that occur in the training corpus, looked up in the run's provenance index.

A problem counts as found when it shares a passage of at least
:data:`~codeling.provenance.winnowing.GUARANTEE` lexemes (about three lines) with a training
document; the index finds every such passage. Long documents share licence headers with many
others, so a document counts only when one training document holds :data:`DOCUMENT_SHARE` of it.
Scores are given with and without the problems that were found. This module must not know what is
scored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from codeling.manifest import sha256_file
from codeling.provenance.index import INDEX_NAME, Index
from codeling.run_folder import RunFolder

MAX_MATCHES = 3
"""Training documents named per problem."""
DOCUMENT_SHARE = 0.5
"""Smallest share of a document's lexemes, in one match, for the document to count as found."""


@dataclass(frozen=True)
class TrainingCorpus:
    """The provenance index of the corpus that a model was trained on."""

    index: Index
    sha256: str
    """Of the index file."""

    @classmethod
    def load(cls, run: RunFolder) -> "TrainingCorpus | None":
        """Read the index of a run folder; None where it has no index.

        :raises InputError: the index is broken.
        """
        path = run.provenance / INDEX_NAME
        if not path.is_file():
            return None
        return cls(Index.load(path.parent), sha256_file(path))

    def find(self, text: str, min_share: float = 0.0) -> list[dict[str, Any]]:
        """Matches of ``text`` in the training data, longest first, at most :data:`MAX_MATCHES`."""
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
            for match in self.index.trace(text, limit=MAX_MATCHES)
            if match.share >= min_share
        ]


def find_in_training(
    corpus: TrainingCorpus | None, text: str, min_share: float = 0.0
) -> list[dict[str, Any]] | None:
    """Matches of ``text`` in the training data; None where the model has no index."""
    return None if corpus is None else corpus.find(text, min_share)


def contamination_summary(
    corpus: TrainingCorpus | None, records: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """The entry ``contamination`` of a result."""
    if corpus is None:
        return {"index_sha256": None, "num_found": None}
    return {
        "index_sha256": corpus.sha256,
        "num_found": sum(bool(record["found"]) for record in records),
    }
