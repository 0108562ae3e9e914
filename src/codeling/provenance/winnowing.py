"""Text to marks, marks to fingerprints: numpy only, no files.

A *mark* is a run of ASCII letters, digits, underscores and bytes from 0x80 up, or any other byte
that is not white space or control; the fourth and later of a run of one same decorative mark
(``# - = * ~ + . /``) count as nothing. White space only separates, so code that was re-indented
or re-wrapped has the same marks. No state is carried from one mark to the next, so a fragment
that begins in the middle of a string is cut as the whole file was.

Which K-grams of marks are kept is decided by winnowing (Schleimer, Wilkerson, Aiken: "Winnowing:
Local Algorithms for Document Fingerprinting", SIGMOD 2003): the least hash of every
:data:`WINDOW` neighbouring ones, so two texts that share ``K + WINDOW - 1`` marks in a row share
a fingerprint; one K-gram in eleven is kept. All of it is some twenty passes of numpy over 8
bytes a byte of text, without a loop over marks. This module must not know what the fingerprints
are for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codeling.ngrams import WORD_BASE, span_hashes

K = 12
"""Marks of one fingerprint."""
WINDOW = 21
"""Neighbouring K-grams of which the one with the least hash is kept."""
GUARANTEE = K + WINDOW - 1
"""Marks in a row (32, about three lines) from which on a shared passage is always found."""

U8 = NDArray[np.uint8]
U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]


@dataclass(frozen=True)
class Cut:
    """Some documents, cut. ``M`` marks, ``L`` lines, ``F`` fingerprints, ``D`` documents."""

    marks: U8  # (M,) top byte of each mark's hash
    hashes: U64  # (F,) of 32 bits
    firsts: U64  # (F,) first mark of each fingerprint, ascending
    line_starts: U64  # (L,) marks before each line
    mark_offsets: U64  # (D + 1,)
    line_offsets: U64  # (D + 1,)


def _byte_classes() -> U8:
    """0 white space and control, 1 part of a word, 2 a mark alone, 3 one that is decorative."""
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
    """Cut ``texts`` into marks and choose their fingerprints; each text by itself.

    A line feed is put before each text, so every line feed opens a line.
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
    marks = span_hashes(data, starts, ends)

    feeds = np.flatnonzero(data[:-1] == 10)
    mark_offsets = np.searchsorted(starts, begins)
    hashes, firsts = winnow(marks, mark_offsets)
    return Cut(
        marks=(marks >> np.uint64(56)).astype(np.uint8),
        hashes=hashes,
        firsts=firsts,
        line_starts=np.searchsorted(starts, feeds).astype(np.uint64),
        mark_offsets=mark_offsets.astype(np.uint64),
        line_offsets=np.searchsorted(feeds, begins).astype(np.uint64),
    )


def winnow(marks: U64, offsets: I64) -> tuple[U64, U64]:
    """The fingerprints of marks (M,): their hashes of 32 bits and first marks, both (F,).

    The rightmost least of each window of K-grams; windows lie within one document.
    """
    windows = len(marks) - GUARANTEE + 1
    if windows <= 0:
        return np.empty(0, np.uint64), np.empty(0, np.uint64)
    first = np.arange(len(marks) - K + 1)
    low = np.uint64(0xFFFFFFFF)
    hashes = span_hashes(marks, first, first + K, WORD_BASE) & ~low
    keys = hashes | (low - first.astype(np.uint64))
    least, width = keys, 1
    while width < WINDOW:
        step = min(width, WINDOW - width)
        least = np.minimum(least[:-step], least[step:])
        width += step
    document = np.searchsorted(offsets, np.arange(len(marks)), side="right")
    least = least[document[:windows] == document[GUARANTEE - 1 :]]
    is_new = np.ones(len(least), np.bool_)
    is_new[1:] = least[1:] != least[:-1]
    chosen = least[is_new]
    return chosen >> np.uint64(32), low - (chosen & low)
