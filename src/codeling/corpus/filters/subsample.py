"""Which documents of a source are drawn, where a recipe wants a share of them.

A document is drawn if the first 64 bits of SHA-256(``seed:position``), as a fraction of 2^64,
are below the source's weight. The position is ``repository/path`` for a file of its own and
``shard:row`` for a row of a table (the shard's name below the recipe's path, rows from 0). So
one document's fate depends on no other document, and a larger weight draws all that a smaller
one did. Pure functions.
"""

import hashlib


def is_sampled(seed: int, position: str, weight: float) -> bool:
    """Whether the document at ``position`` belongs to the share ``weight``."""
    if weight >= 1:
        return True
    digest = hashlib.sha256(f"{seed}:{position}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") < weight * 2**64
