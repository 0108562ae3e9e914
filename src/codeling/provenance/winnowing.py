"""Text to lexemes, lexemes to fingerprints. Numpy only, no files.

A lexeme is a word or a sign (:func:`codeling.ngrams.hash_lexemes`).
Winnowing selects the K-grams of lexemes to store (Schleimer, Wilkerson, Aiken: "Winnowing: Local
Algorithms for Document Fingerprinting", SIGMOD 2003): the minimum hash of every :data:`WINDOW`
consecutive ones. So two texts that share ``K + WINDOW - 1`` consecutive lexemes share a
fingerprint, and about one K-gram in eleven is stored. The work is about twenty numpy passes over
8 bytes per byte of text, without a loop over lexemes. This module must not know what the
fingerprints are used for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codeling.ngrams import WORD_BASE, hash_lexemes, span_hashes

K = 12
"""Lexemes of one fingerprint."""
WINDOW = 21
"""Consecutive K-grams of which the one with the minimum hash is stored."""
GUARANTEE = K + WINDOW - 1
"""Shared passages of at least this many lexemes (32, about three lines) are always found."""

U8 = NDArray[np.uint8]
U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]


@dataclass(frozen=True)
class LexedTexts:
    """``D`` documents as ``M`` lexemes, with ``L`` lines and ``F`` fingerprints."""

    lexemes: U8
    """(M,): top byte of each lexeme's hash."""
    hashes: U64
    """(F,): 32-bit hash of each fingerprint."""
    firsts: U64
    """(F,): first lexeme of each fingerprint, ascending."""
    line_starts: U64
    """(L,): number of lexemes before each line."""
    lexeme_offsets: U64
    """(D + 1,): first lexeme of each document."""
    line_offsets: U64
    """(D + 1,): first line of each document."""


def lex(texts: Sequence[str]) -> LexedTexts:
    """Split each of ``texts`` into lexemes and select its fingerprints.

    A line feed is inserted before each text, so that every line starts with one.
    """
    lexemes = hash_lexemes(texts)
    hashes, firsts = winnow(lexemes.hashes, lexemes.offsets)
    feeds = np.flatnonzero(lexemes.data[:-1] == ord("\n"))
    return LexedTexts(
        lexemes=(lexemes.hashes >> np.uint64(56)).astype(np.uint8),
        hashes=hashes,
        firsts=firsts,
        line_starts=np.searchsorted(lexemes.starts, feeds).astype(np.uint64),
        lexeme_offsets=lexemes.offsets.astype(np.uint64),
        line_offsets=np.searchsorted(feeds, lexemes.text_starts).astype(np.uint64),
    )


def winnow(lexemes: U64, offsets: I64) -> tuple[U64, U64]:
    """Hashes of lexemes (M,) → 32-bit hashes and first lexemes of the fingerprints, both (F,).

    In each window of K-grams the rightmost minimum is selected. No window spans two documents,
    which begin at ``offsets`` (D + 1,).
    """
    windows = len(lexemes) - GUARANTEE + 1
    if windows <= 0:
        return np.empty(0, np.uint64), np.empty(0, np.uint64)
    first = np.arange(len(lexemes) - K + 1)
    low = np.uint64(0xFFFFFFFF)
    hashes = span_hashes(lexemes, first, first + K, WORD_BASE) & ~low
    keys = hashes | (low - first.astype(np.uint64))
    least, width = keys, 1
    while width < WINDOW:
        step = min(width, WINDOW - width)
        least = np.minimum(least[:-step], least[step:])
        width += step
    document = np.searchsorted(offsets, np.arange(len(lexemes)), side="right")
    least = least[document[:windows] == document[GUARANTEE - 1 :]]
    is_new = np.ones(len(least), np.bool_)
    is_new[1:] = least[1:] != least[:-1]
    chosen = least[is_new]
    return chosen >> np.uint64(32), low - (chosen & low)
