"""Which documents are measured: an order drawn from a seed and each document's place.

The order depends on the SHA-256 of seed, repository, path and line alone, never on the order of
the corpus, so the same documents are taken from any copy of it. This module must not know what
is measured.
"""

import hashlib
import heapq
from collections.abc import Iterable
from typing import Protocol, TypeVar


class Located(Protocol):
    """A text with a place (:class:`codeling.corpus.document.Document` is one)."""

    @property
    def repository(self) -> str: ...  # noqa: D102
    @property
    def path(self) -> str: ...  # noqa: D102
    @property
    def text(self) -> str: ...  # noqa: D102
    @property
    def start_line(self) -> int: ...  # noqa: D102


AnyLocated = TypeVar("AnyLocated", bound=Located)


def place_hash(document: Located, seed: int) -> int:
    """A number drawn from ``seed`` and the document's place alone; sorting by it shuffles."""
    place = f"{seed}\0{document.repository}\0{document.path}\0{document.start_line}"
    return int.from_bytes(hashlib.sha256(place.encode("utf-8", "replace")).digest(), "big")


def in_drawn_order(documents: Iterable[AnyLocated], seed: int) -> list[AnyLocated]:
    """All of them, in the order drawn; those of one place by their text."""
    return sorted(documents, key=lambda document: (place_hash(document, seed), document.text))


def draw(documents: Iterable[AnyLocated], *, seed: int, max_bytes: int) -> list[AnyLocated]:
    """The first documents of the drawn order that together reach ``max_bytes``, in that order.

    At no time are more of them kept than these and one more.
    """
    heap: list[tuple[int, str, int, int, AnyLocated]] = []
    total = 0
    for number, document in enumerate(documents):
        num_bytes = len(document.text.encode("utf-8", "replace"))
        place = -place_hash(document, seed)
        heapq.heappush(heap, (place, document.text, number, num_bytes, document))
        total += num_bytes
        while total - heap[0][3] >= max_bytes:
            total -= heapq.heappop(heap)[3]
    return [entry[4] for entry in sorted(heap, reverse=True)]
