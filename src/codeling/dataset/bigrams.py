"""Bigram counts: how often each token id follows each other one in a token file.

Counting a whole corpus takes a second, while a short run reads a few percent of it. This module
must not know what is learned from the counts.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from codeling.dataset.tokens import TokenFile

MAX_TOKENS = 32_000_000
"""Maximum number of ids counted; in a larger file, in pieces spread over it."""
_PIECE = 1 << 16
_PRIOR = 2.0
"""Pseudo-counts added to each row, distributed like all ids, so that an id seen once does not get a
probability of 1."""


@dataclass(frozen=True)
class Bigrams:
    """Counted pairs, sorted by their first id."""

    vocab_size: int
    offsets: NDArray[np.int64]
    """(V + 1,): the pairs that start with ``id`` are ``offsets[id]:offsets[id + 1]`` below."""
    following: NDArray[np.int64]
    """Second id of each pair, ascending for each first id."""
    counts: NDArray[np.int64]
    """Count of each pair."""

    def frequencies(self) -> NDArray[np.float64]:
        """Share of the pairs that start with each id, (V,)."""
        sums = np.concatenate([[0], np.cumsum(self.counts)])
        shares: NDArray[np.float64] = np.diff(sums[self.offsets]) / max(1, sums[-1])
        return shares

    def probabilities(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Distribution of the next id after each of ``ids`` (N,), as rows (N, V)."""
        starts, lengths = self.offsets[ids], np.diff(self.offsets)[ids]
        rows = np.repeat(np.arange(len(ids)), lengths)
        firsts = np.repeat(starts - np.cumsum(lengths) + lengths, lengths)
        places = firsts + np.arange(len(rows))
        found = np.empty((len(ids), self.vocab_size), np.float32)
        found[:] = self._prior
        found[rows, self.following[places]] += self.counts[places]
        shares: NDArray[np.float32] = found / found.sum(1, keepdims=True)
        return shares

    @cached_property
    def _prior(self) -> NDArray[np.float32]:
        """Pseudo-counts of each row, all above zero, (V,)."""
        totals = np.bincount(self.following, self.counts, self.vocab_size) + 1
        prior: NDArray[np.float32] = (_PRIOR * totals / totals.sum()).astype(np.float32)
        return prior


def count_bigrams(
    tokens: TokenFile, vocab_size: int, boundary: int, max_tokens: int = MAX_TOKENS
) -> Bigrams:
    """Count the pairs of ``tokens``, with the id ``boundary`` between documents.

    Needs memory for twice ``max_tokens`` pairs of four or eight bytes.
    """
    code = np.dtype(np.uint32 if vocab_size**2 <= 1 << 32 else np.uint64)
    found = []
    for start, end in _pieces(tokens.num_tokens, max_tokens):
        borders = tokens.offsets[np.searchsorted(tokens.offsets, start) :]
        borders = borders[: np.searchsorted(borders, end)]
        ids = np.insert(tokens.ids[start:end], borders.astype(np.int64) - start, boundary)
        found.append(ids[:-1].astype(code) * code.type(vocab_size) + ids[1:])
    codes = np.concatenate([np.empty(0, code), *found])
    codes.sort()
    firsts = np.flatnonzero(np.diff(codes, prepend=codes[:1] + code.type(1)))
    pairs = codes[firsts].astype(np.int64)
    return Bigrams(
        vocab_size,
        np.searchsorted(pairs, np.arange(vocab_size + 1) * vocab_size),
        pairs % vocab_size,
        np.diff(firsts, append=len(codes)),
    )


def _pieces(num_tokens: int, max_tokens: int) -> list[tuple[int, int]]:
    """Spans of ids to count: all, or pieces with about ``max_tokens`` in total."""
    if num_tokens <= max_tokens:
        return [(0, num_tokens)]
    starts = np.linspace(0, num_tokens - _PIECE, max(1, max_tokens // _PIECE)).astype(int)
    return [(start, start + _PIECE) for start in starts.tolist()]
