"""How often each id follows each other one in a token file.

A short run reads a few percent of its corpus; to count the pairs of all of it takes a second.
This module must not know what is learned from the counts.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from codeling.dataset.tokens import TokenFile

MAX_TOKENS = 32_000_000
"""Of a larger file so many ids are counted, in pieces from all over it."""
_PIECE = 1 << 16
_PRIOR = 2.0
"""Occurrences that every row is given beside its own, spread as all ids are: a row that was
seen once is no certainty."""


@dataclass(frozen=True)
class Bigrams:
    """Counted pairs, by their first id."""

    vocab_size: int
    offsets: NDArray[np.int64]
    """(V + 1,): what follows ``id`` stands in ``offsets[id]:offsets[id + 1]`` of the others."""
    following: NDArray[np.int64]
    """Ids in rising order."""
    counts: NDArray[np.int64]
    """How often each of them follows."""

    def frequencies(self) -> NDArray[np.float64]:
        """Share of the pairs that begin with each id, (V,)."""
        sums = np.concatenate([[0], np.cumsum(self.counts)])
        shares: NDArray[np.float64] = np.diff(sums[self.offsets]) / max(1, sums[-1])
        return shares

    def probabilities(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """What follows each of ``ids`` (N,), as rows (N, V) that sum to 1."""
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
        """What every row has beside its own, nowhere zero, (V,)."""
        totals = np.bincount(self.following, self.counts, self.vocab_size) + 1
        prior: NDArray[np.float32] = (_PRIOR * totals / totals.sum()).astype(np.float32)
        return prior


def count_bigrams(
    tokens: TokenFile, vocab_size: int, boundary: int, max_tokens: int = MAX_TOKENS
) -> Bigrams:
    """Count the pairs of ``tokens``, with ``boundary`` between documents as rows have it.

    Takes memory for ``max_tokens`` codes of a pair, of four or eight bytes, twice.
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
    """Spans of ids to count, not more than ``max_tokens`` in all but for a piece."""
    if num_tokens <= max_tokens:
        return [(0, num_tokens)]
    starts = np.linspace(0, num_tokens - _PIECE, max(1, max_tokens // _PIECE)).astype(int)
    return [(start, start + _PIECE) for start in starts.tolist()]
