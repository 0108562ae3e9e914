"""Counts the n-grams of a corpus: sorted on disk, in memory that does not grow with the text.

The longest n-grams are counted as they occur. Those of each lower order get the number of distinct
tokens that they follow, which is what Kneser-Ney smoothing needs. An n-gram is one integer: its
tokens are the digits in the base of the vocabulary's size, the first token the highest digit.

A distribution sort: tokens are read in parts; the keys of each part are divided by value into
buckets; each bucket is sorted alone and its distinct keys are counted. The buckets' borders come
from a sample, and no context has keys in two of them. The counts do not depend on the parts, the
buckets or the number of workers. Every file is written whole, so a killed count resumes after the
last one. This module must not know what is done with the counts.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codeling.progress import SILENT, Progress

BUCKET_KEYS = 1 << 23
"""About this many keys are sorted at a time: 64 MB, and three times that for the work."""
MAX_COUNT = 1 << 16
"""Counts from here on are one entry of a histogram."""
_SAMPLE_STEP = 1024

I64 = NDArray[np.int64]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]


@dataclass(frozen=True)
class CorpusTokens:
    """The ids of all documents, without separators."""

    ids: NDArray[np.unsignedinteger]
    """(N,)"""
    offsets: NDArray[Any]
    """(D + 1,): document ``d`` is ``ids[offsets[d]:offsets[d + 1]]``."""
    vocab_size: int
    boundary: int
    """The id between documents. It precedes each document as often as the order asks for, and
    follows it once; no n-gram holds tokens of two documents."""


@dataclass(frozen=True)
class NgramCounts:
    """All n-grams of one order, sorted, in buckets."""

    order: int
    paths: Sequence[Path]
    """One bucket each."""
    counts_of_counts: I64
    """(MAX_COUNT + 1,): number of n-grams with each count; the last is for all larger counts."""

    def read(self, bucket: int) -> tuple[U64, U32]:
        """Keys, ascending, and their counts."""
        return _read(self.paths[bucket])


def max_order(vocab_size: int, limit: int = 5) -> int:
    """Longest n-grams whose keys fit into 64 bits, at most ``limit``."""
    return max(n for n in range(1, limit + 1) if n == 1 or vocab_size**n <= 1 << 64)


def count(
    documents: CorpusTokens,
    order: int,
    folder: Path,
    workers: int = 1,
    progress: Progress = SILENT,
    bucket_keys: int = BUCKET_KEYS,
) -> list[NgramCounts]:
    """Count the n-grams of orders 1 to ``order``, in this sequence of the result.

    ``folder`` is for this count alone. Files that a killed call left there are reused.
    """
    work = _Work(documents, order, folder, bucket_keys)
    levels: list[NgramCounts] = []
    num_tokens = len(documents.ids)
    with (
        ThreadPoolExecutor(workers) as pool,
        progress.task(f"counting {order}-grams", 2 * num_tokens, "tokens") as advance,
    ):

        def run(function: Callable[[int], Any], number: int, tokens: int) -> list[Any]:
            results = []
            for result in pool.map(function, range(number)):
                advance(tokens // number)
                results.append(result)
            return results

        if not work.is_complete(order):
            run(work.divide_part, work.num_parts, num_tokens)
        for n in range(order, 0, -1):
            number = work.num_buckets(n)
            histograms = run(partial(work.sort_bucket, n), number, num_tokens // order)
            work.remove_divided(n)
            paths = [work.path("level", n, bucket) for bucket in range(number)]
            levels.append(NgramCounts(n, paths, np.sum(histograms, axis=0)))
    return levels[::-1]


class _Work:
    """The files of one count: ``divided`` holds keys by bucket, ``level`` sorted keys and counts.

    Both begin with their numbers of keys, one per bucket in ``divided``.
    """

    def __init__(self, documents: CorpusTokens, order: int, folder: Path, bucket_keys: int) -> None:
        self._documents, self._order, self._folder = documents, order, folder
        folder.mkdir(parents=True, exist_ok=True)
        num_tokens, starts = len(documents.ids), np.asarray(documents.offsets, np.int64)
        ends = np.arange(bucket_keys, num_tokens, bucket_keys)
        self._parts = np.unique([0, *np.searchsorted(starts, ends), len(starts) - 1])
        number = max(1, -(-num_tokens // bucket_keys))
        sample = self._sample(max(1, min(_SAMPLE_STEP, num_tokens // (64 * number))))
        self._borders = {n: self._divide(sample, n, number) for n in range(1, order + 1)}
        """First key of each bucket but the first one, (B - 1,), for each order."""

    @property
    def num_parts(self) -> int:
        """Parts of whole documents; a long document makes its part longer."""
        return len(self._parts) - 1

    def num_buckets(self, order: int) -> int:
        """Buckets of an order."""
        return len(self._borders[order]) + 1

    def path(self, kind: str, order: int, number: int) -> Path:
        """A file of the work folder."""
        return self._folder / f"{kind}-{order}-{number:05d}.bin"

    def is_complete(self, order: int) -> bool:
        """Whether all buckets of an order are sorted."""
        buckets = range(self.num_buckets(order))
        return all(self.path("level", order, bucket).exists() for bucket in buckets)

    def remove_divided(self, order: int) -> None:
        """Remove the keys that were sorted."""
        for path in self._folder.glob(f"divided-{order}-*.bin"):
            path.unlink()

    def _power(self, order: int) -> U64:
        return np.array(self._documents.vocab_size**order, np.uint64)

    def _sample(self, step: int) -> U64:
        """Keys of some of the longest n-grams, as if all text were one document."""
        ids, order = self._documents.ids, self._order
        starts = np.arange(0, len(ids) - order + 1, step)
        keys = np.zeros(len(starts), np.uint64)
        for place in range(order):
            keys = keys * self._power(1) + ids[starts + place].astype(np.uint64)
        return keys

    def _divide(self, sample: U64, order: int, number: int) -> U64:
        """Borders of ``number`` buckets: quantiles of the sample, at the starts of contexts."""
        if order == 1 or not len(sample):
            return np.empty(0, np.uint64)
        sample = np.sort(sample % self._power(order) if order < self._order else sample)
        chosen = sample[np.arange(1, number) * len(sample) // number]
        return np.unique(chosen // self._power(1) * self._power(1))

    def divide_part(self, part: int) -> None:
        """Write the keys of one part, divided into buckets of the highest order."""
        path = self.path("divided", self._order, part)
        if not path.exists():
            first, last = self._parts[part : part + 2].tolist()
            self._write_divided(path, self._order, self._keys(first, last))

    def _keys(self, first: int, last: int) -> U64:
        """The key of each n-gram that ends in the documents ``first`` to ``last``."""
        offsets = np.asarray(self._documents.offsets[first : last + 1], np.int64)
        pad = self._order - 1
        padded = np.concatenate([[0], np.cumsum(np.diff(offsets) + pad + 1)])
        is_end = np.ones(padded[-1], np.bool_)  # not of the boundaries before a document
        is_end[(padded[:-1, None] + np.arange(pad)).reshape(-1)] = False
        is_id = is_end.copy()
        is_id[padded[1:] - 1] = False
        ids = np.full(len(is_id), self._documents.boundary, np.uint64)
        ids[is_id] = self._documents.ids[offsets[0] : offsets[-1]]
        keys = np.zeros(len(ids) - pad, np.uint64)
        for place in range(self._order):
            keys *= self._power(1)
            keys += ids[place : place + len(keys)]
        return keys[is_end[pad:]]

    def _write_divided(self, path: Path, order: int, keys: U64) -> None:
        borders = self._borders[order]
        buckets = np.searchsorted(borders, keys, side="right").astype(np.uint16)
        numbers = np.bincount(buckets, minlength=len(borders) + 1).astype("<i8")
        if len(borders):
            keys = keys[np.argsort(buckets, kind="stable")]
        _write(path, numbers, keys)

    def _gather(self, order: int, bucket: int) -> U64:
        """All keys of a bucket, in any order."""
        number = self.num_buckets(order)
        pieces = [np.empty(0, np.uint64)]
        for path in self._folder.glob(f"divided-{order}-*.bin"):
            data = np.asarray(np.memmap(path, "<u8", mode="r"))
            ends = np.cumsum([number, *data[:number].tolist()])
            pieces.append(data[ends[bucket] : ends[bucket + 1]])
        return np.concatenate(pieces)

    def sort_bucket(self, order: int, bucket: int) -> I64:
        """Write one bucket of a level, and its keys divided for the next lower order.

        Returns the counts of counts.
        """
        path = self.path("level", order, bucket)
        if not path.exists():
            keys = self._gather(order, bucket)
            keys.sort()
            is_first = np.ones(len(keys), np.bool_)
            np.not_equal(keys[1:], keys[:-1], out=is_first[1:])
            firsts = np.flatnonzero(is_first)
            counts = np.diff(firsts, append=len(keys)).astype("<u4")
            keys = keys[firsts]
            if order > 1:
                lower = self.path("divided", order - 1, bucket)
                self._write_divided(lower, order - 1, keys % self._power(order - 1))
            keys, counts = self._with_boundaries(order, bucket, keys, counts)
            _write(path, np.array([len(keys)], "<i8"), keys, counts)
        _, counts = _read(path)
        histogram: I64 = np.bincount(np.minimum(counts, MAX_COUNT), minlength=MAX_COUNT + 1)
        return histogram

    def _with_boundaries(self, order: int, bucket: int, keys: U64, counts: U32) -> tuple[U64, U32]:
        """Add the n-gram of boundaries alone, the context at a document's start, with count 0."""
        vocab_size, boundary = self._documents.vocab_size, self._documents.boundary
        key = np.uint64(sum(boundary * vocab_size**place for place in range(order)))
        place = int(np.searchsorted(keys, key))
        is_here = np.searchsorted(self._borders[order], key, side="right") == bucket
        if order == self._order or not is_here or (place < len(keys) and keys[place] == key):
            return keys, counts
        return np.insert(keys, place, key), np.insert(counts, place, 0)


def _read(path: Path) -> tuple[U64, U32]:
    data = np.asarray(np.memmap(path, np.uint8, mode="r"))
    end = 8 + 8 * int(data[:8].view("<i8")[0])
    return data[8:end].view("<u8"), data[end:].view("<u4")


def _write(path: Path, *arrays: NDArray[Any]) -> None:
    partial_path = path.with_suffix(".part")
    with partial_path.open("wb") as file:
        for array in arrays:
            file.write(array.astype(array.dtype.newbyteorder("<"), copy=False).data)
    partial_path.replace(path)
