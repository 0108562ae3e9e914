"""Which documents are there more than once, and which of the copies is kept.

Two texts are the same when nothing but white space tells them apart: CodeParrot's exact
deduplication (``preprocessing.py``: a hash of the content without white space). This module
must not read files; it is given digests in order of rank, the best first, and holds 16 bytes a
document.
"""

import hashlib
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

DIGEST_BYTES = 16
Digests = npt.NDArray[np.uint64]
"""(N, 2): a digest a row."""


def digest(text: str) -> bytes:
    """The first 16 bytes of the SHA-256 of ``text`` without its white space.

    Two different texts among ten thousand million share one with a chance below 1e-18.
    """
    return hashlib.sha256("".join(text.split()).encode()).digest()[:DIGEST_BYTES]


def to_array(digests: bytes) -> Digests:
    """Digests that stand one behind the other as an array of (N, 2)."""
    return np.frombuffer(digests, "<u8").reshape(-1, 2)


def origins(digests: Digests) -> npt.NDArray[np.int64]:
    """For every position the first one with its digest."""
    _, first, number = np.unique(digests, axis=0, return_index=True, return_inverse=True)
    found: npt.NDArray[np.int64] = first[number.reshape(-1)]
    return found


def first_copies(
    digests: Digests, copies: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """For every position: is it the first of its digest, and the sum of ``copies`` over all of it.

    ``copies`` (N,) says how many documents each one stands for already.
    """
    first = np.zeros(len(digests), bool)
    total = np.zeros(len(digests), np.int64)
    if not len(digests):
        return first, total
    order = np.lexsort((digests[:, 1], digests[:, 0]))
    ordered = digests[order]
    begins = np.ones(len(order), bool)
    begins[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    starts = np.flatnonzero(begins)
    first[order[starts]] = True  # lexsort is stable: the first of a group has the lowest position
    sizes = np.diff(np.append(starts, len(order)))
    total[order] = np.repeat(np.add.reduceat(copies[order], starts), sizes)
    return first, total


class DigestSet:
    """The digests met so far, 16 bytes each, in a few sorted runs."""

    def __init__(self) -> None:
        self._runs: list[_Run] = []

    def add(self, digests: Digests) -> npt.NDArray[np.bool_]:
        """Which of ``digests`` (N, 2) are new, the first of equal ones alone; then they are not."""
        new, _ = first_copies(digests, np.ones(len(digests), np.int64))
        for run in self._runs:
            candidates = np.flatnonzero(new)
            new[candidates] = ~run.holds(digests[candidates])
        if new.any():
            self._runs.append(_Run.of(digests[new, 0], digests[new, 1]))
        # Each run has at least twice the length of the next: few of them, each merged seldom.
        while len(self._runs) > 1 and len(self._runs[-2].high) < 2 * len(self._runs[-1].high):
            last, before = self._runs.pop(), self._runs.pop()
            both = (np.concatenate(halves) for halves in zip(before, last, strict=True))
            self._runs.append(_Run.of(*both))
        return new


class _Run(NamedTuple):
    """Both halves of digests, ordered by the first."""

    high: npt.NDArray[np.uint64]
    low: npt.NDArray[np.uint64]

    @classmethod
    def of(cls, high: npt.NDArray[np.uint64], low: npt.NDArray[np.uint64]) -> "_Run":
        order = np.argsort(high, kind="stable")
        return cls(high[order], low[order])

    def holds(self, digests: Digests) -> npt.NDArray[np.bool_]:
        """Which of ``digests`` (N, 2) are in here."""
        found = np.zeros(len(digests), bool)
        high, low = digests[:, 0].copy(), digests[:, 1]
        place = np.searchsorted(self.high, high)
        candidates = np.flatnonzero(place < len(self.high))
        while len(candidates):  # twice at most, but for digests that agree in their first half
            at = place[candidates]
            candidates, at = _where(self.high[at] == high[candidates], candidates, at)
            found[candidates] = self.low[at] == low[candidates]
            candidates, at = _where(~found[candidates] & (at + 1 < len(self.high)), candidates, at)
            place[candidates] = at + 1
        return found


def _where(mask: npt.NDArray[np.bool_], *arrays: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    return [array[mask] for array in arrays]
