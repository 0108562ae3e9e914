"""Exact deduplication: find equal documents and keep the best-ranked copy.

Two texts are equal if they differ only in whitespace, as in CodeParrot's exact deduplication
(``preprocessing.py``: a hash of the content without whitespace). Digests are passed in order of
rank, best first, and take 16 bytes of memory per document. This module must not read files.
"""

import hashlib
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

DIGEST_BYTES = 16
Digests = npt.NDArray[np.uint64]
"""(N, 2): one digest per row."""


def digest(text: str) -> bytes:
    """First 16 bytes of the SHA-256 of ``text`` without whitespace.

    The probability of a collision among 10^10 different texts is below 1e-18.
    """
    return hashlib.sha256("".join(text.split()).encode()).digest()[:DIGEST_BYTES]


def to_array(digests: bytes) -> Digests:
    """Convert concatenated digests to an array (N, 2)."""
    return np.frombuffer(digests, "<u8").reshape(-1, 2)


def origins(digests: Digests) -> npt.NDArray[np.int64]:
    """First position (N,) with the same digest, for every position."""
    _, first, number = np.unique(digests, axis=0, return_index=True, return_inverse=True)
    found: npt.NDArray[np.int64] = first[number.reshape(-1)]
    return found


def first_copies(
    digests: Digests, copies: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Return whether each position is the first of its digest, and its digest's total of copies.

    ``copies`` (N,) is the number of documents that each position already represents.
    """
    first = np.zeros(len(digests), bool)
    total = np.zeros(len(digests), np.int64)
    if not len(digests):
        return first, total
    order = np.lexsort((digests[:, 1], digests[:, 0]))
    ordered = digests[order]
    is_start = np.ones(len(order), bool)
    is_start[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    starts = np.flatnonzero(is_start)
    first[order[starts]] = True  # lexsort is stable: the first of a group has the lowest position
    sizes = np.diff(np.append(starts, len(order)))
    total[order] = np.repeat(np.add.reduceat(copies[order], starts), sizes)
    return first, total


class DigestSet:
    """Set of digests in a few sorted runs, at 16 bytes per digest."""

    def __init__(self) -> None:
        self._runs: list[_Run] = []

    def add(self, digests: Digests) -> npt.NDArray[np.bool_]:
        """Add ``digests`` (N, 2); return which were new (N,), the first of equal ones only."""
        new, _ = first_copies(digests, np.ones(len(digests), np.int64))
        for run in self._runs:
            candidates = np.flatnonzero(new)
            new[candidates] = ~run.contains(digests[candidates])
        if new.any():
            self._runs.append(_Run.sort(digests[new, 0], digests[new, 1]))
        # Each run is at least twice as long as the next, so runs are few and merges are rare.
        while len(self._runs) > 1 and len(self._runs[-2].high) < 2 * len(self._runs[-1].high):
            last, before = self._runs.pop(), self._runs.pop()
            both = (np.concatenate(halves) for halves in zip(before, last, strict=True))
            self._runs.append(_Run.sort(*both))
        return new


class _Run(NamedTuple):
    """The two halves of each digest, sorted by the first half."""

    high: npt.NDArray[np.uint64]
    low: npt.NDArray[np.uint64]

    @classmethod
    def sort(cls, high: npt.NDArray[np.uint64], low: npt.NDArray[np.uint64]) -> "_Run":
        order = np.argsort(high, kind="stable")
        return cls(high[order], low[order])

    def contains(self, digests: Digests) -> npt.NDArray[np.bool_]:
        """Mask (N,) of the ``digests`` (N, 2) that are in this run."""
        found = np.zeros(len(digests), bool)
        high, low = digests[:, 0].copy(), digests[:, 1]
        place = np.searchsorted(self.high, high)
        candidates = np.flatnonzero(place < len(self.high))
        while len(candidates):  # at most twice, unless digests share their first half
            at = place[candidates]
            candidates, at = _where(self.high[at] == high[candidates], candidates, at)
            found[candidates] = self.low[at] == low[candidates]
            candidates, at = _where(~found[candidates] & (at + 1 < len(self.high)), candidates, at)
            place[candidates] = at + 1
        return found


def _where(mask: npt.NDArray[np.bool_], *arrays: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    return [array[mask] for array in arrays]
