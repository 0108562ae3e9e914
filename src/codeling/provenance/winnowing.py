"""Text to lexemes, lexemes to fingerprints. Numpy only, no files.

A *lexeme* is a run of ASCII letters, digits, underscores and bytes from 0x80 up, or any other
single byte that is neither white space nor control. In a run of one decorative character
(``# - = * ~ + . /``) only the first three are lexemes. White space only separates, so code that
was re-indented or re-wrapped has the same lexemes. The scanner has no state, so a fragment that
begins inside a string is cut like the whole file.

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

from codeling.ngrams import WORD_BASE, span_hashes

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
class Cut:
    """Documents, cut: ``M`` lexemes, ``L`` lines, ``F`` fingerprints, ``D`` documents."""

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


def _byte_classes() -> U8:
    """0: white space and control, 1: part of a word, 2: other characters, 3: decorative ones."""
    classes = np.full(256, 2, np.uint8)
    classes[:33] = classes[127] = 0
    classes[128:] = 1
    for byte in range(128):
        if chr(byte).isalnum() or chr(byte) == "_":
            classes[byte] = 1
    classes[list(b"#-=*~+./")] = 3
    return classes


_CLASSES = _byte_classes()


def cut_texts(texts: Sequence[str]) -> Cut:
    """Cut each of ``texts`` into lexemes and select its fingerprints.

    A line feed is inserted before each text, so that every line starts with one.
    """
    encoded = [b"\n" + text.encode("utf-8", "surrogatepass") for text in texts]
    data = np.frombuffer(b"".join(encoded) + b"\n", np.uint8)
    begins = np.concatenate([[0], np.cumsum([len(text) for text in encoded])]).astype(np.int64)

    classes = _CLASSES[data]
    word = classes == 1
    is_start = classes >= 2
    is_start[1:] |= word[1:] & ~word[:-1]
    same = (data[1:] == data[:-1]) & (classes[1:] == 3)
    is_start[3:] &= ~(same[2:] & same[1:-1] & same[:-2])
    starts = np.flatnonzero(is_start)
    ends = starts + 1
    word_ends = np.flatnonzero(word[:-1] & ~word[1:]) + 1
    ends[word[starts]] = word_ends
    lexemes = span_hashes(data, starts, ends)

    feeds = np.flatnonzero(data[:-1] == 10)
    lexeme_offsets = np.searchsorted(starts, begins)
    hashes, firsts = winnow(lexemes, lexeme_offsets)
    return Cut(
        lexemes=(lexemes >> np.uint64(56)).astype(np.uint8),
        hashes=hashes,
        firsts=firsts,
        line_starts=np.searchsorted(starts, feeds).astype(np.uint64),
        lexeme_offsets=lexeme_offsets.astype(np.uint64),
        line_offsets=np.searchsorted(feeds, begins).astype(np.uint64),
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
