"""Which documents are there more than once, and which of the copies is kept.

Two texts are the same when nothing but white space tells them apart: CodeParrot's exact
deduplication (``preprocessing.py``: a hash of the content without white space). This module
must not read files; it is given texts in order of rank, the best first.
"""

import hashlib
from collections.abc import Sequence

DIGEST_BYTES = 16


def digest(text: str) -> bytes:
    """The first 16 bytes of the SHA-256 of ``text`` without its white space.

    Two different texts among ten thousand million share one with a chance below 1e-18.
    """
    return hashlib.sha256("".join(text.split()).encode()).digest()[:DIGEST_BYTES]


def first_copies(digests: Sequence[bytes | None]) -> tuple[list[bool], list[int]]:
    """For every position: is it the first of its digest, and how often does the digest occur.

    None stands for a document that is out already: never first, 0 copies.
    """
    counts: dict[bytes, int] = {}
    first = []
    for value in digests:
        first.append(value is not None and value not in counts)
        if value is not None:
            counts[value] = counts.get(value, 0) + 1
    return first, [counts[value] if value is not None else 0 for value in digests]
