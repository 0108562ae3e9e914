"""MinHash sketches: fixed-length rows of bytes that estimate the similarity of texts.

A document is represented by the set of its word 5-grams, as in BigCode's near-deduplication
(``bigcode-dataset/near_deduplication/minhash_deduplication.py``: 5-grams, 256 permutations,
threshold 0.7). A *word* is a run of ASCII letters, digits, underscores and bytes from 0x80 up.
Deviation: BigCode also counts the empty string between two separators as a word; here it is
ignored, so that indentation and punctuation alone do not make documents similar. The set is
sketched by MinHash (Broder 1997) in rensa's implementation, R-MinHash, which follows "Fast
Similarity Sketching" (Dahlgaard, Knudsen, Thorup 2017). The share of equal slots of two sketches
estimates the Jaccard similarity of their sets, with a smaller error than classic MinHash.

Each set gets two sketches. The first has 256 slots and finds candidate pairs: it is divided into 42
bands of 6 slots, and each band is hashed to 64 bits (locality-sensitive hashing, Indyk and Motwani
1998). The second verifies the candidates. It has 1,024 slots, another seed, and keeps one byte per
slot (Li and König 2010, "b-bit minwise hashing"). A pair of similarity s shares a band with
probability 1 - (1 - s⁶)⁴², which is 0.995 at s = 0.7. BigCode uses 25 bands of 10 slots without
verification, which finds half of the pairs at 0.7 (1 - (1 - 0.7¹⁰)²⁵ = 0.51).

A sketch depends only on its text, not on the batch or the machine. This module must not read files
and does not know which documents are compared.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash

from codeling.ngrams import WORD_BASE, gram_hashes, mix, span_hashes

NGRAM_WORDS = 5
"""Words per n-gram; BigCode's value."""
PERMUTATIONS = 256
"""Slots of the candidate sketch; BigCode's value."""
BANDS = 42
BAND_SLOTS = 6
VERIFIER_SLOTS = 1024
"""Slots of the verification sketch. The standard error at similarity 0.7 is at most 0.014."""
SKETCH_BYTES = 8 * BANDS + VERIFIER_SLOTS
"""Size of a sketch: band hashes as little-endian 64-bit integers, then the verification slots."""

_CANDIDATE_SEED, _VERIFIER_SEED = 0, 1

U8 = NDArray[np.uint8]
U64 = NDArray[np.uint64]


def sketches(texts: Sequence[str]) -> U8:
    """Sketch N texts, (N, SKETCH_BYTES). A text of fewer than five words gives all zeros.

    Time is linear in the size of the texts. Memory is about 60 bytes per byte of text, so pass a
    few megabytes at a time.
    """
    grams, offsets = ngrams(texts)
    rows = np.zeros((len(texts), SKETCH_BYTES), np.uint8)
    if len(grams):
        candidates = _slots(grams, offsets, PERMUTATIONS, _CANDIDATE_SEED)
        rows[:, : 8 * BANDS] = _band_hashes(candidates).astype("<u8").view(np.uint8)
        verifier = _slots(grams, offsets, VERIFIER_SLOTS, _VERIFIER_SEED)
        rows[:, 8 * BANDS :] = verifier.astype(np.uint8)
        rows[np.diff(offsets) == 0] = 0
    return rows


def ngrams(texts: Sequence[str]) -> tuple[U64, NDArray[np.int64]]:
    """Hashes (G,) of the 5-grams of all texts, with repetition, and offsets (N + 1,).

    Text i has the hashes ``hashes[offsets[i]:offsets[i + 1]]``. Equal 5-grams have equal 64-bit
    hashes in every text; collisions of different ones are random.
    """
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    data = np.frombuffer(b"\n" + b"\n".join(encoded) + b"\n", np.uint8)
    ends = np.cumsum([len(text) + 1 for text in encoded], dtype=np.int64)
    is_word = _IS_WORD[data]
    edges = np.flatnonzero(is_word[1:] != is_word[:-1]) + 1
    words = span_hashes(data, edges[0::2], edges[1::2])
    last_words = np.searchsorted(edges[0::2], ends)
    first_words = np.concatenate([[0], last_words[:-1]])
    counts = np.maximum(last_words - first_words - (NGRAM_WORDS - 1), 0)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    starts = np.arange(offsets[-1]) + np.repeat(first_words - offsets[:-1], counts)
    return gram_hashes(words, NGRAM_WORDS)[starts], offsets


def _slots(grams: U64, offsets: NDArray[np.int64], slots: int, seed: int) -> NDArray[np.uint32]:
    """R-MinHash of the 5-grams of each text, (N, slots)."""
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(
        grams, offsets.astype(np.uint64), slots, seed
    )
    return np.array(matrix.to_rows(), np.uint32)


def _band_hashes(slots: NDArray[np.uint32]) -> U64:
    """Hash the bands: (N, PERMUTATIONS) → (N, BANDS), never zero."""
    bands = slots[:, : BANDS * BAND_SLOTS].reshape(-1, BANDS, BAND_SLOTS).astype(np.uint64)
    hashes = np.zeros(bands.shape[:2], np.uint64)
    for slot in range(BAND_SLOTS):
        hashes = mix(hashes * WORD_BASE + bands[:, :, slot])
    hashes[hashes == 0] = 1
    return hashes


def _word_bytes() -> NDArray[np.bool_]:
    is_word = np.zeros(256, np.bool_)
    is_word[128:] = True
    for byte in range(128):
        is_word[byte] = chr(byte).isalnum() or chr(byte) == "_"
    return is_word


_IS_WORD = _word_bytes()
