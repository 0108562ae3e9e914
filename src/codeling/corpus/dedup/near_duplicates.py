"""Which documents are near-copies of each other: sketches to clusters, and forks.

Documents come in order of rank, the best first; of each cluster its first is kept. A cluster is
a connected component of the pairs whose similarity is at least the threshold, as in BigCode's
near-deduplication (a union-find over its pairs). The other way, dropping a document only where
a *kept* one is near it, drops a little less, but needs every pair of every cluster; components
need no more than the pairs that hold one together, and the split needs them in any case, to
have a chain of forks on one side.

Candidates are found band by band: the band hashes of all documents are sorted, and documents
that share one, neighbours in that order, are compared by the judge's part of their sketches
(see :mod:`codeling.corpus.dedup.minhash`). Sketches wait on disk; in memory are some ten integers a
document, 1.5 GB for 18.6 million of them. Nothing depends on how the documents were divided
among those who sketched them. This module must not know texts.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codeling.corpus.dedup.minhash import BANDS, JUDGE_SLOTS
from codeling.errors import storage_errors

THRESHOLD = 0.7
"""Jaccard similarity from which two documents are near-copies; BigCode's."""
REACH = 16
"""In the order of a band a document is compared with so many after it. So of up to 17 documents
that share a band all are compared; of more, those that share the next band as well stand side
by side."""
FORK_SHARE = 0.5
"""A repository with this share of its documents copied from another one counts as its fork."""

_BLOCK = 1 << 10
"""Documents whose band hashes lie together on disk; the last block is filled up with zeros."""
_PAIRS = 1 << 14
"""Pairs judged at a time: 32 MB of sketches."""

I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
U64 = NDArray[np.uint64]


def clusters(batches: Iterable[U8], folder: Path, threshold: float = THRESHOLD) -> I64:
    """For each of N documents the first of its cluster, (N,); its own position where alone.

    ``batches`` are the documents' sketches, (B, SKETCH_BYTES) each, in order of rank; they are
    spooled to files in ``folder``, SKETCH_BYTES a document, which are removed at the end.

    :raises StorageError: ``folder`` cannot be written.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        paths = folder / "bands.bin", folder / "judges.bin"
        try:
            num_documents = _spool(batches, *paths)
            if num_documents == 0:
                return np.empty(0, np.int64)
            bands = np.memmap(paths[0], "<u8", "r").reshape(-1, BANDS, _BLOCK)
            judges = np.memmap(paths[1], np.uint8, "r").reshape(num_documents, JUDGE_SLOTS)
            return _components(bands, judges, threshold)
        finally:
            for path in paths:
                path.unlink(missing_ok=True)


def _spool(batches: Iterable[U8], bands_path: Path, judges_path: Path) -> int:
    """Write the band hashes a band at a time in blocks, the judges' slots row by row."""
    num_documents = 0
    pending = np.zeros((_BLOCK, BANDS), "<u8")
    with bands_path.open("wb") as bands, judges_path.open("wb") as judges:
        for rows in batches:
            judges.write(np.ascontiguousarray(rows[:, 8 * BANDS :]).data)
            hashes = np.ascontiguousarray(rows[:, : 8 * BANDS]).view("<u8")
            start = 0
            while start < len(hashes):
                place = num_documents % _BLOCK
                end = min(len(hashes), start + _BLOCK - place)
                pending[place : place + end - start] = hashes[start:end]
                num_documents += end - start
                start = end
                if num_documents % _BLOCK == 0:
                    bands.write(np.ascontiguousarray(pending.T).data)
                    pending[:] = 0
        if num_documents % _BLOCK:
            bands.write(np.ascontiguousarray(pending.T).data)
    return num_documents


def _components(bands: U64, judges: U8, threshold: float) -> I64:
    """Compare neighbours in every band's order; the first document of each one's component."""
    num_documents = len(judges)
    first = np.arange(num_documents)
    for band in range(BANDS):
        hashes = _band(bands, band, num_documents)
        order = np.lexsort((_band(bands, (band + 1) % BANDS, num_documents), hashes))
        hashes = hashes[order]
        for distance in range(1, REACH + 1):
            shared = (hashes[distance:] == hashes[:-distance]) & (hashes[distance:] != 0)
            places = np.flatnonzero(shared)
            if not len(places):
                break
            left, right = order[places], order[places + distance]
            apart = first[left] != first[right]
            left, right = left[apart], right[apart]
            near = np.zeros(len(left), np.bool_)
            for start in range(0, len(left), _PAIRS):
                some = slice(start, start + _PAIRS)
                near[some] = similarity(judges[left[some]], judges[right[some]]) >= threshold
            first = _join(first, left[near], right[near])
    return first


def _band(bands: U64, band: int, num_documents: int) -> U64:
    return np.ascontiguousarray(bands[:, band, :]).reshape(-1)[:num_documents]


def similarity(left: U8, right: U8) -> NDArray[np.float64]:
    """Estimated Jaccard similarity of P pairs, from the judges' slots, (P, JUDGE_SLOTS) each.

    Of two sets without anything in common one slot in 256 is equal, since a byte is kept of it;
    that is taken off (Li and König 2010, theorem 1 for large sets).
    """
    equal = np.count_nonzero(left == right, axis=1) / JUDGE_SLOTS
    estimate: NDArray[np.float64] = (equal - 1 / 256) / (1 - 1 / 256)
    return estimate


def _join(first: I64, left: I64, right: I64) -> I64:
    """Unite the components of every pair; each is named after its least document.

    The larger of two names is pointed at the smaller one, and every name followed to its end,
    until no pair is apart: whole arrays at a time.
    """
    while len(left):
        low, high = np.minimum(first[left], first[right]), np.maximum(first[left], first[right])
        np.minimum.at(first, high, low)
        while True:
            followed = first[first]
            if np.array_equal(followed, first):
                break
            first = followed
        apart = first[left] != first[right]
        left, right = left[apart], right[apart]
    return first


def forks(origins: I64, owners: I64) -> I64:
    """Pairs of projects (P, 2) that one split has to hold together: a fork, what it came from.

    ``origins`` (N,) is the first copy of each document, exact or near, its own position where
    there is no better one; ``owners`` (N,) numbers each document's project. A project is
    another's fork when at least :data:`FORK_SHARE` of its documents are copies of documents
    there. One file in common joins none: dropping the copy has parted the two already, and
    joined by such files nearly all projects would be one.
    """
    if not len(owners):
        return np.empty((0, 2), np.int64)
    sizes = np.bincount(owners)
    width = len(sizes)
    theirs = owners[origins]
    keys, copies = np.unique((owners * width + theirs)[owners != theirs], return_counts=True)
    pairs = np.stack([keys // width, keys % width], axis=1)
    found: I64 = pairs[copies >= FORK_SHARE * sizes[pairs[:, 0]]]
    return found
