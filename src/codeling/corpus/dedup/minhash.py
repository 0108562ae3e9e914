"""Text to a sketch: a row of bytes of fixed length, from which near-copies are found.

A document is the set of its 5-grams of words, as in BigCode's near-deduplication
(``bigcode-dataset/near_deduplication/minhash_deduplication.py``: 5-grams, 256 permutations,
threshold 0.7). A *word* is a run of ASCII letters, digits, underscores and bytes from 0x80 up;
BigCode also counts the empty strings between two separators as words, here they count as
nothing, so that indentation and punctuation alone do not make documents alike. The set is
sketched by MinHash (Broder 1997) in rensa's implementation, R-MinHash, which follows "Fast
Similarity Sketching" (Dahlgaard, Knudsen, Thorup 2017): the share of equal slots of two
sketches estimates the Jaccard similarity of their sets, with less error than classic MinHash.

Two sketches are made of one set. The first, of 256 slots, only finds candidates: it is cut into
42 bands of 6 slots, each hashed to 64 bits (locality-sensitive hashing, Indyk and Motwani
1998). The second, of 1,024 slots with another seed and one byte kept of each (Li and König
2010, "b-bit minwise hashing"), judges them. A pair of similarity s shares a band with
probability 1 - (1 - s⁶)⁴²: 0.995 at 0.7. BigCode takes the 25 bands of 10 that suit a search
without a judge, which finds half of the pairs at 0.7 (1 - (1 - 0.7¹⁰)²⁵ = 0.51).

A sketch is a function of its text alone: neither the batch nor the machine matters. This module
must not read files, nor know which documents are compared.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash

from codeling.ngrams import WORD_BASE, gram_hashes, mix, span_hashes

NGRAM_WORDS = 5
"""Words of one element of a document's set; BigCode's."""
PERMUTATIONS = 256
"""Slots of the sketch that finds candidates; BigCode's."""
BANDS = 42
BAND_SLOTS = 6
JUDGE_SLOTS = 1024
"""Slots of the sketch that judges them: an error of 0.014 at 0.7, standard deviation at most."""
SKETCH_BYTES = 8 * BANDS + JUDGE_SLOTS
"""Bytes of a sketch: band hashes as little-endian integers of 64 bits, then the judge's slots."""

_FINDER_SEED, _JUDGE_SEED = 0, 1

U8 = NDArray[np.uint8]
U64 = NDArray[np.uint64]


def sketches(texts: Sequence[str]) -> U8:
    """The sketches of N texts, (N, SKETCH_BYTES); all zeros for one of fewer than five words.

    Time is linear in the text; some 60 bytes of memory a byte of text are in use, so give a
    few megabytes at a time.
    """
    grams, offsets = ngrams(texts)
    rows = np.zeros((len(texts), SKETCH_BYTES), np.uint8)
    if len(grams):
        finder = _slots(grams, offsets, PERMUTATIONS, _FINDER_SEED)
        rows[:, : 8 * BANDS] = _band_hashes(finder).astype("<u8").view(np.uint8)
        judge = _slots(grams, offsets, JUDGE_SLOTS, _JUDGE_SEED)
        rows[:, 8 * BANDS :] = judge.astype(np.uint8)
        rows[np.diff(offsets) == 0] = 0
    return rows


def ngrams(texts: Sequence[str]) -> tuple[U64, NDArray[np.int64]]:
    """Hashes (G,) of the 5-grams of every text in turn, with repetition, and offsets (N + 1,).

    Those of text i are ``hashes[offsets[i]:offsets[i + 1]]``. Equal 5-grams have equal hashes,
    wherever they stand; different ones share a hash of 64 bits by chance alone.
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
    """R-MinHash of every text's 5-grams, (N, slots)."""
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(
        grams, offsets.astype(np.uint64), slots, seed
    )
    return np.array(matrix.to_rows(), np.uint32)


def _band_hashes(slots: NDArray[np.uint32]) -> U64:
    """(N, PERMUTATIONS) → (N, BANDS), never zero."""
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
