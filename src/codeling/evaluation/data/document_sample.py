"""Random samples of documents that do not depend on the order of the corpus.

A document's rank is the SHA-256 of seed, repository, path and line, so every copy of a corpus gives
the same sample. This module must not know what is measured.
"""

import hashlib
import heapq
from collections.abc import Iterable
from typing import Protocol, TypeVar


class LocatedText(Protocol):
    """A text with a location, for example :class:`codeling.corpus.document.Document`."""

    @property
    def repository(self) -> str: ...  # noqa: D102
    @property
    def path(self) -> str: ...  # noqa: D102
    @property
    def text(self) -> str: ...  # noqa: D102
    @property
    def start_line(self) -> int: ...  # noqa: D102


AnyLocatedText = TypeVar("AnyLocatedText", bound=LocatedText)


def location_hash(document: LocatedText, seed: int) -> int:
    """256 random bits from ``seed`` and the document's location alone."""
    location = f"{seed}\0{document.repository}\0{document.path}\0{document.start_line}"
    return int.from_bytes(hashlib.sha256(location.encode("utf-8", "replace")).digest(), "big")


def location_label(document: LocatedText) -> str:
    """``repository: path:line``."""
    return f"{document.repository}: {document.path}:{document.start_line}"


def shuffled(documents: Iterable[AnyLocatedText], seed: int) -> list[AnyLocatedText]:
    """All documents in random order; documents with the same location are ordered by text."""
    return sorted(documents, key=lambda document: (location_hash(document, seed), document.text))


def sample_documents(
    documents: Iterable[AnyLocatedText], *, seed: int, max_bytes: int
) -> list[AnyLocatedText]:
    """The first documents of the random order that together reach ``max_bytes`` of UTF-8.

    At most one document more than the result is kept in memory.
    """
    heap: list[tuple[int, str, int, int, AnyLocatedText]] = []
    total = 0
    for number, document in enumerate(documents):
        num_bytes = len(document.text.encode("utf-8", "replace"))
        rank = -location_hash(document, seed)
        heapq.heappush(heap, (rank, document.text, number, num_bytes, document))
        total += num_bytes
        while total - heap[0][3] >= max_bytes:
            total -= heapq.heappop(heap)[3]
    return [entry[4] for entry in sorted(heap, reverse=True)]
