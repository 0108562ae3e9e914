"""Shuffles documents by a seed and their text alone.

The first N of the order are the documents that a recipe takes. Because the place of a document
depends on no other, neither the order nor the partitions of the input change which ones these are,
and a larger N takes the same ones and more. Pure functions.
"""

import hashlib

import numpy as np
import numpy.typing as npt

from codeling.corpus.dedup.exact import Digests


def shuffled(digests: Digests, seed: int) -> npt.NDArray[np.int64]:
    """Return the positions (N,) of documents in shuffled order.

    Documents are sorted by 64 bits of BLAKE2b over the digests (N, 2) of their texts, with the seed
    as key; equal ones stay in order.
    """
    key = f"{seed}/take".encode()
    hashes = b"".join(
        hashlib.blake2b(digest.tobytes(), digest_size=8, key=key).digest()
        for digest in np.ascontiguousarray(digests, "<u8")
    )
    order: npt.NDArray[np.int64] = np.argsort(np.frombuffer(hashes, ">u8"), kind="stable")
    return order
