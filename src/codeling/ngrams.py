"""Hashes of 64 bits for words and n-grams, many at a time. numpy only.

Near-duplicate sketches and the provenance index are built on these hashes and are kept on disk,
so the functions must not change their values.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]

BYTE_BASE = np.uint64(0x9E3779B97F4A7C15)
"""Base of the polynomial over the bytes of a word."""
WORD_BASE = np.uint64(0xD1342543DE82EF95)
"""Base of the polynomial over the words of an n-gram."""

_POWERS_STEP = 1 << 20


def mix(values: U64) -> U64:
    """The finalizer of splitmix64 (Steele, Lea, Flood 2014): every bit depends on every bit."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: U64 = values ^ (values >> np.uint64(31))
    return mixed


def span_hashes(values: NDArray[Any], starts: I64, ends: I64, base: np.uint64 = BYTE_BASE) -> U64:
    """Polynomial hash of ``values[start:end]`` for every span, (S,), modulo 2⁶⁴, then mixed.

    Equal spans have equal hashes wherever they stand. The sum over ``values[i] * base**-i`` is
    computed once for all spans; a span is the difference of two of its terms, scaled by
    ``base**end``.
    """
    powers, inverses = _powers(int(base), -(-(len(values) + 1) // _POWERS_STEP))
    sums = np.zeros(len(values) + 1, np.uint64)
    terms = values.astype(np.uint64) + np.uint64(1)
    np.cumsum(terms * inverses[: len(values)], out=sums[1:])
    return mix((sums[ends] - sums[starts]) * powers[ends])


def gram_hashes(codes: U64, length: int) -> U64:
    """Hash of ``length`` codes from each position on, (max(0, T - length + 1),)."""
    count = max(0, len(codes) - length + 1)
    hashes = codes[:count].copy()
    for position in range(1, length):
        hashes *= WORD_BASE
        hashes += codes[position : position + count]
    return mix(hashes)


@lru_cache(maxsize=4)
def _powers(base: int, steps: int) -> tuple[U64, U64]:
    """``base ** i`` and ``base ** -i`` modulo 2⁶⁴ for i below ``steps`` × 2²⁰."""
    count = steps * _POWERS_STEP
    factors = np.full((2, count), base, np.uint64)
    factors[1] = np.uint64(pow(base, -1, 1 << 64))
    factors[:, 0] = 1
    powers: U64 = np.multiply.accumulate(factors, axis=1)
    return powers[0], powers[1]
