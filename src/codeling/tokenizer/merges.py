"""Byte-pair encoding: learn merges from words and their counts.

Exact: each step merges the pair with the highest count, everywhere. Ties are broken by the lowest
id of the first, then of the second entry. So the result depends on the counts alone, not on the
order of words or on threads. It equals what the tokenizers library learns from the same texts
(``tests/tokenizer/test_merges.py``), with a fraction of the memory: all words are in a few flat
arrays. This module must not know what words are or where counts come from. Source: Sennrich et al.
2016, algorithm 1. A merge touches only the occurrences of its pair; the heap is corrected lazily.
"""

import heapq
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from codeling.progress import SILENT, Progress

_BORDER, _GONE = -1, -2
"""Instead of an entry: between two words, and where an entry was merged into its neighbour."""

Merge = tuple[str, str]


def learn(
    counts: Mapping[str, int],
    entries: Sequence[str],
    vocab_size: int,
    progress: Progress = SILENT,
    *,
    min_count: int = 2,
) -> tuple[list[str], list[Merge]]:
    """All entries, at most ``vocab_size``, starting with ``entries``, and the merges in order.

    ``counts`` maps each word to its number of occurrences. The characters of words must be in
    ``entries``. Stops early if no pair is left that occurs ``min_count`` times.
    """
    vocabulary = list(entries)
    id_of = {entry: i for i, entry in enumerate(vocabulary)}
    words = _Words(counts, id_of, vocab_size)
    heap = [(-count, key) for key, count in words.pair_counts.items()]
    heapq.heapify(heap)
    merges: list[Merge] = []
    with progress.task("learning merges", vocab_size, "entries") as advance:
        advance(len(vocabulary))
        while len(vocabulary) < vocab_size and heap:
            count, key = heapq.heappop(heap)
            current = words.pair_counts[key]
            if current != -count:
                heapq.heappush(heap, (-current, key))
                continue
            if current < max(1, min_count):
                break
            first, second = (vocabulary[i] for i in divmod(key, vocab_size))
            merges.append((first, second))
            if first + second not in id_of:  # two merges can give the same entry
                id_of[first + second] = len(vocabulary)
                vocabulary.append(first + second)
                advance(1)
            for grown in words.merge(key, id_of[first + second]):
                heapq.heappush(heap, (-words.pair_counts[grown], grown))
    return vocabulary, merges


class _Words:
    """All words, concatenated and divided into the current entries."""

    def __init__(self, counts: Mapping[str, int], id_of: Mapping[str, int], base: int) -> None:
        text = np.frombuffer(("\n" + "\n".join(counts) + "\n").encode("utf-32-le"), "<u4")
        last = max(map(ord, (c for c in id_of if len(c) == 1)), default=10)
        ids = np.full(last + 11, _GONE, np.int32)
        for entry, i in id_of.items():
            if len(entry) == 1:
                ids[ord(entry)] = i
        ids[ord("\n")] = _BORDER
        self._base = base
        self._entry = ids[text]
        assert not (self._entry == _GONE).any(), "a character is not an entry"
        size = len(text)
        self._next = np.arange(1, size + 1, dtype=np.int32)
        self._previous = np.arange(-1, size - 1, dtype=np.int32)
        self._word = np.cumsum(self._entry == _BORDER, dtype=np.int32) - np.int32(1)
        times = np.fromiter(counts.values(), np.int64, len(counts))
        self._times = np.append(times, 0)  # for each word, and for the border after the last
        self.pair_counts: dict[int, int] = {}
        """Pair, as first × base + second → number of occurrences. Kept after a merge, for overlaps
        such as ``aa`` in ``aaa`` may be left."""
        self._places: dict[int, list[NDArray[np.int32]]] = {}
        """Pair → candidate positions; they are checked again before a merge."""
        is_entry = self._entry >= 0
        places = np.flatnonzero(is_entry[:-1] & is_entry[1:]).astype(np.int32)
        # Single characters have low ids, so 32 bits suffice for their pairs.
        narrow = len(id_of) * base < 2**31
        keys = self._entry[places].astype(np.int32 if narrow else np.int64)
        keys *= base
        keys += self._entry[places + 1]
        self._count(keys, self._times[self._word[places]])
        self._remember(keys, places)

    def merge(self, key: int, merged: int) -> list[int]:
        """Merge a pair everywhere; returns the pairs whose count has grown."""
        first, second = divmod(key, self._base)
        entry, following, previous = self._entry, self._next, self._previous
        at = np.unique(np.concatenate(self._places.pop(key, [np.empty(0, np.int32)])))
        at = at[entry[at] == first]
        at = at[entry[following[at]] == second]
        if first == second:
            at = _every_other(at, following)
        times = self._times[self._word[at]]
        right = following[at]
        after, before = following[right], previous[at]
        has_after = entry[after] >= 0
        # If the left neighbour is merged too, the pair between them was counted with it.
        alone = (entry[before] >= 0) & ~_members(before, right)
        gone = np.concatenate(
            [
                entry[before[alone]].astype(np.int64) * self._base + first,
                np.int64(second) * self._base + entry[after[has_after]],
            ]
        )
        entry[at], entry[right] = merged, _GONE
        following[at], previous[after] = after, at
        before, after, left_at = previous[at][alone], after[has_after], at[has_after]
        new = np.concatenate(
            [
                entry[before].astype(np.int64) * self._base + merged,
                np.int64(merged) * self._base + entry[after],
            ]
        )
        weights = np.concatenate([times[alone], times[has_after]])
        self._count(gone, -weights)
        grown = self._count(new, weights)
        self._remember(new, np.concatenate([before, left_at]))
        return [pair for pair in grown if self.pair_counts[pair] > 0]

    def _count(self, keys: NDArray[np.signedinteger], weights: NDArray[np.int64]) -> list[int]:
        """Add ``weights`` to the counts of ``keys``; returns the distinct keys."""
        distinct, inverse = np.unique(keys, return_inverse=True)
        sums = np.zeros(len(distinct), np.int64)
        np.add.at(sums, inverse, weights)
        counts = self.pair_counts
        found: list[int] = distinct.tolist()
        for key, amount in zip(found, sums.tolist(), strict=True):
            counts[key] = counts.get(key, 0) + amount
        return found

    def _remember(self, keys: NDArray[np.signedinteger], places: NDArray[np.int32]) -> None:
        order = np.argsort(keys, kind="stable")
        keys, places = keys[order], places[order]
        borders = np.flatnonzero(np.diff(keys)) + 1
        begins = [0, *borders.tolist(), len(keys)] if len(keys) else [0]
        for begin, end in pairwise(begins):
            self._places.setdefault(int(keys[begin]), []).append(places[begin:end].copy())


def _every_other(at: NDArray[np.int32], following: NDArray[np.int32]) -> NDArray[np.int32]:
    """Every second one of overlapping positions (``aa`` in ``aaa``), from the left."""
    if not len(at):
        return at
    begins = np.ones(len(at), bool)
    begins[1:] = following[at[:-1]] != at[1:]
    numbers = np.arange(len(at))
    place_in_run = numbers - np.maximum.accumulate(np.where(begins, numbers, 0))
    chosen: NDArray[np.int32] = at[place_in_run % 2 == 0]
    return chosen


def _members(values: NDArray[np.int32], ordered: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Mask of the ``values`` that are in ``ordered``, which is ascending."""
    if not len(ordered):
        return np.zeros(len(values), bool)
    found = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    are: NDArray[np.bool_] = ordered[found] == values
    return are
