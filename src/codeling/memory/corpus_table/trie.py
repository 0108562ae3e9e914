"""The kept n-grams of a corpus as a trie, and the codes of its weights and counts.

This module must not know how n-grams are chosen or looked up.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CODES_PER_OCTAVE = 2048
"""A weight is stored as ``-CODES_PER_OCTAVE * log2(weight)``, in 16 bits, rounded up."""
NO_WEIGHT = 65_535
"""The code of weight 0."""
SEEN_PER_OCTAVE = 8
"""A number of times is stored as ``SEEN_PER_OCTAVE * log2(number)``, in 8 bits."""

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
U16 = NDArray[np.uint16]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]


@dataclass(frozen=True)
class NgramTrie:
    """The kept n-grams as a forward trie: the children of an n-gram are its continuations."""

    unigrams: NDArray[np.float32]
    """(V,): probability of each token without a context; sums to 1."""
    ids: Sequence[NDArray[np.unsignedinteger]]
    """For each order from 2 on, (E,): last token of each n-gram, in the order of all tokens."""
    weights: Sequence[U16]
    """For each order from 2 on, (E,): code of the weight."""
    children: Sequence[U32]
    """For each order but the last, (E + 1,): first child of each n-gram, in the next order. Order 1
    has an entry per token of the vocabulary."""
    seen: Sequence[U8]
    """For each order but the last, (E,): code of the number of times that it was a context."""


def weight_codes(weights: F64) -> U16:
    """The code of each weight, rounded so that a stored weight is never above the given one."""
    with np.errstate(divide="ignore"):
        codes = np.ceil(-CODES_PER_OCTAVE * np.log2(weights))
    return np.where(codes < NO_WEIGHT, codes, NO_WEIGHT).astype(np.uint16)


def decoded_weights() -> NDArray[np.float64]:
    """The weight of each code, (65536,)."""
    weights = np.exp2(np.arange(1 << 16) / -CODES_PER_OCTAVE)
    weights[NO_WEIGHT] = 0
    return weights


def seen_codes(numbers: U64) -> U8:
    """The code of each number of times."""
    codes: F64 = np.rint(SEEN_PER_OCTAVE * np.log2(np.maximum(numbers, 1).astype(np.float64)))
    return np.minimum(codes, 255).astype(np.uint8)


def decoded_seen() -> I64:
    """The number of times of each code, (256,)."""
    return np.rint(np.exp2(np.arange(256) / SEEN_PER_OCTAVE)).astype(np.int64)
