"""Near-duplicate clusters from sketches, and forks of repositories.

Documents come in order of rank, best first, and the first document of each cluster is kept. A
cluster is a connected component of the pairs whose similarity reaches the threshold, as in
BigCode's near-deduplication (union-find over its pairs). The alternative is to drop a document only
if a *kept* one is similar. It drops slightly less, but needs all pairs of each cluster, while
components need only enough pairs to connect them. The split needs components in any case, to keep a
chain of forks on one side.

Candidates are found band by band. The band hashes of all documents are sorted, and neighbours with
equal hashes are compared by their verification sketches (see
:mod:`codeling.corpus.dedup.minhash`). Sketches are kept on disk. Memory holds about ten integers
per document: 1.5 GB for 18.6 million documents. The result does not depend on how the documents
were partitioned for sketching. This module must not know texts.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codeling.corpus.dedup.minhash import BANDS, VERIFIER_SLOTS
from codeling.errors import storage_errors

THRESHOLD = 0.7
"""Minimum Jaccard similarity of near-duplicates; BigCode's value."""
MAX_NEIGHBOURS = 16
"""Number of following documents, in the order of a band, that a document is compared with. If at
most 17 documents share a band, all pairs are compared. In larger groups, documents that also share
the next band are neighbours."""
FORK_SHARE = 0.5
"""A repository is a fork of another one if this share of its documents are copies from there."""

_BLOCK = 1 << 10
"""Documents per block of band hashes on disk; the last block is padded with zeros."""
_PAIRS = 1 << 14
"""Pairs verified at a time: 32 MB of sketches."""

I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
U64 = NDArray[np.uint64]


def clusters(batches: Iterable[U8], folder: Path, threshold: float = THRESHOLD) -> I64:
    """Position of the first document in each document's cluster, (N,).

    A document without near-duplicates gets its own position. ``batches`` are the sketches of the
    documents, (B, SKETCH_BYTES) each, in order of rank. They are written to temporary files in
    ``folder``, which are removed at the end.

    :raises StorageError: when ``folder`` cannot be written.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        paths = folder / "bands.bin", folder / "verifiers.bin"
        try:
            num_documents = _spool(batches, *paths)
            if num_documents == 0:
                return np.empty(0, np.int64)
            bands = np.memmap(paths[0], "<u8", "r").reshape(-1, BANDS, _BLOCK)
            verifiers = np.memmap(paths[1], np.uint8, "r").reshape(num_documents, VERIFIER_SLOTS)
            return _components(bands, verifiers, threshold)
        finally:
            for path in paths:
                path.unlink(missing_ok=True)


def _spool(batches: Iterable[U8], bands_path: Path, verifiers_path: Path) -> int:
    """Write band hashes in blocks, grouped by band, and verification slots row by row."""
    num_documents = 0
    pending = np.zeros((_BLOCK, BANDS), "<u8")
    with bands_path.open("wb") as bands, verifiers_path.open("wb") as verifiers:
        for rows in batches:
            verifiers.write(np.ascontiguousarray(rows[:, 8 * BANDS :]).data)
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


def _components(bands: U64, verifiers: U8, threshold: float) -> I64:
    """Compare neighbours in the order of each band; first document of each component, (N,)."""
    num_documents = len(verifiers)
    first = np.arange(num_documents)
    for band in range(BANDS):
        hashes = _band(bands, band, num_documents)
        order = np.lexsort((_band(bands, (band + 1) % BANDS, num_documents), hashes))
        hashes = hashes[order]
        for distance in range(1, MAX_NEIGHBOURS + 1):
            shared = (hashes[distance:] == hashes[:-distance]) & (hashes[distance:] != 0)
            places = np.flatnonzero(shared)
            if not len(places):
                break
            left, right = order[places], order[places + distance]
            apart = first[left] != first[right]
            left, right = left[apart], right[apart]
            near = np.zeros(len(left), np.bool_)
            for start in range(0, len(left), _PAIRS):
                chunk = slice(start, start + _PAIRS)
                left_slots, right_slots = verifiers[left[chunk]], verifiers[right[chunk]]
                near[chunk] = similarity(left_slots, right_slots) >= threshold
            first = _join(first, left[near], right[near])
    return first


def _band(bands: U64, band: int, num_documents: int) -> U64:
    return np.ascontiguousarray(bands[:, band, :]).reshape(-1)[:num_documents]


def similarity(left: U8, right: U8) -> NDArray[np.float64]:
    """Estimated Jaccard similarity of P pairs from their verification slots (P, VERIFIER_SLOTS).

    A slot keeps one byte, so 1 in 256 slots of disjoint sets is equal by chance; the estimate
    corrects for that (Li and König 2010, theorem 1 for large sets).
    """
    equal = np.count_nonzero(left == right, axis=1) / VERIFIER_SLOTS
    estimate: NDArray[np.float64] = (equal - 1 / 256) / (1 - 1 / 256)
    return estimate


def _join(first: I64, left: I64, right: I64) -> I64:
    """Merge the components of all pairs; the label of a component is its smallest position.

    Vectorized union-find: point the larger label of each pair at the smaller one, then follow all
    labels to their roots, until both labels of every pair agree.
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


def forks(origins: I64, projects: I64) -> I64:
    """Pairs (P, 2) of a fork and its origin, which must be in the same split.

    ``origins`` (N,) is the position of the first copy or near-duplicate of each document, or its
    own position. ``projects`` (N,) is the number of each document's project. A project is a fork of
    another one if at least :data:`FORK_SHARE` of its documents are copies from there. A single
    common file does not connect two projects: its copy is dropped anyway, and such files would
    connect nearly all projects.
    """
    if not len(projects):
        return np.empty((0, 2), np.int64)
    sizes = np.bincount(projects)
    width = len(sizes)
    sources = projects[origins]
    keys, copies = np.unique((projects * width + sources)[projects != sources], return_counts=True)
    pairs = np.stack([keys // width, keys % width], axis=1)
    found: I64 = pairs[copies >= FORK_SHARE * sizes[pairs[:, 0]]]
    return found
