"""Lexemes of texts, and hashes of 64 bits for words and n-grams, many at a time. numpy only.

Near-duplicate sketches and the provenance index are built on these hashes and kept on disk, so the
hashes must never change.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
U64 = NDArray[np.uint64]

BYTE_BASE = np.uint64(0x9E3779B97F4A7C15)
"""Base of the polynomial over the bytes of a word."""
WORD_BASE = np.uint64(0xD1342543DE82EF95)
"""Base of the polynomial over the words of an n-gram."""

_POWERS_STEP = 1 << 20


@dataclass(frozen=True)
class Lexemes:
    """M lexemes of D texts, concatenated (B bytes)."""

    hashes: U64
    """(M,)"""
    starts: I64
    """(M,): first byte of each lexeme."""
    offsets: I64
    """(D + 1,): first lexeme of each text."""
    data: U8
    """(B,): each text after a line feed, and a line feed at the end."""
    text_starts: I64
    """(D + 1,): first byte of each text."""


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


def hash_lexemes(texts: Sequence[str]) -> Lexemes:
    """Cut texts into lexemes and hash them.

    A *lexeme* is a run of ASCII letters, digits, underscores and bytes from 0x80 up, or any other
    single byte that is neither white space nor control. In a run of one decorative character
    (``# - = * ~ + . /``) only the first three are lexemes. White space only separates, so code that
    was re-indented or re-wrapped has the same lexemes. The scanner has no state, so a fragment that
    begins inside a string is cut like the whole file.
    """
    encoded = [b"\n" + text.encode("utf-8", "surrogatepass") for text in texts]
    data = np.frombuffer(b"".join(encoded) + b"\n", np.uint8)
    text_starts = np.cumsum([0, *(len(text) for text in encoded)], dtype=np.int64)
    classes = _CLASSES[data]
    word = classes == 1
    is_start = classes >= 2
    is_start[1:] |= word[1:] & ~word[:-1]
    same = (data[1:] == data[:-1]) & (classes[1:] == 3)
    is_start[3:] &= ~(same[2:] & same[1:-1] & same[:-2])
    starts = np.flatnonzero(is_start)
    ends = starts + 1
    ends[word[starts]] = np.flatnonzero(word[:-1] & ~word[1:]) + 1
    hashes = span_hashes(data, starts, ends)
    return Lexemes(hashes, starts, np.searchsorted(starts, text_starts), data, text_starts)


def mix(values: U64) -> U64:
    """The finalizer of splitmix64 (Steele, Lea, Flood 2014): every bit depends on every bit."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: U64 = values ^ (values >> np.uint64(31))
    return mixed


def span_hashes(values: NDArray[Any], starts: I64, ends: I64, base: np.uint64 = BYTE_BASE) -> U64:
    """Polynomial hash of ``values[start:end]`` for every span, (S,), modulo 2⁶⁴, then mixed.

    Equal spans have equal hashes at any position. The sum over ``values[i] * base**-i`` is computed
    once for all spans; a span is the difference of two of its terms, scaled by ``base**end``.
    """
    powers, inverses = _powers(int(base), -(-(len(values) + 1) // _POWERS_STEP))
    sums = np.zeros(len(values) + 1, np.uint64)
    terms = values.astype(np.uint64) + np.uint64(1)
    np.cumsum(terms * inverses[: len(values)], out=sums[1:])
    return mix((sums[ends] - sums[starts]) * powers[ends])


def gram_hashes(codes: U64, length: int) -> U64:
    """Hash of ``length`` codes from each position on, (max(0, T - length + 1),)."""
    hashes: U64 = codes
    width = 1
    for bit in f"{length:b}"[1:]:  # doubles the width, so a long n-gram takes few passes
        hashes = hashes[:-width] * _power(width) + hashes[width:]
        width *= 2
        if bit == "1":
            hashes = hashes[:-1] * WORD_BASE + codes[width:]
            width += 1
    return mix(hashes)


def _power(exponent: int) -> U64:
    return np.array(pow(int(WORD_BASE), exponent, 1 << 64), np.uint64)


@lru_cache(maxsize=4)
def _powers(base: int, steps: int) -> tuple[U64, U64]:
    """``base ** i`` and ``base ** -i`` modulo 2⁶⁴ for i below ``steps`` × 2²⁰."""
    count = steps * _POWERS_STEP
    factors = np.full((2, count), base, np.uint64)
    factors[1] = np.uint64(pow(base, -1, 1 << 64))
    factors[:, 0] = 1
    powers: U64 = np.multiply.accumulate(factors, axis=1)
    return powers[0], powers[1]
