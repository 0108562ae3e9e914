"""Subsampling: select a share of a source's documents by hash.

A document is selected if the first 64 bits of SHA-256(``seed:position``), divided by 2^64, are
below the source's weight. The position is ``repository/path`` for a file and ``shard:row`` for a
row of a table (shard name relative to the recipe's path, rows counted from 0). The selection of one
document does not depend on any other document, and a larger weight selects a superset. Pure
functions.
"""

import hashlib


def is_sampled(seed: int, position: str, weight: float) -> bool:
    """Whether the document at ``position`` is in the sample of share ``weight``."""
    if weight >= 1:
        return True
    digest = hashlib.sha256(f"{seed}:{position}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") < weight * 2**64
