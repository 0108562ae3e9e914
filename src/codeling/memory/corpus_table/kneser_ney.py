"""Chooses and weighs the n-grams of a corpus table: modified Kneser-Ney, pruned by counts.

The probability of token w after context c is ``weight(c, w) + rest(c) * p(w | c')``, where c' is c
without its first token, weight(c, w) = (count(c, w) - D) / count(c), and rest(c) is what the
weights of the context leave of 1. D depends on the order and on whether the count is 1, 2 or more
(Chen and Goodman 1999, equations 17 and 26, here written as one interpolation). Lower orders count
distinct predecessors (Kneser and Ney 1995). A pruned n-gram has no weight, so its share goes to
rest(c), and the distribution still sums to 1.

An n-gram is kept if its count reaches the threshold of its order, or if it is the context of one
that is kept. The thresholds rise in steps until the number of n-grams fits. Pruning by the loss of
log-likelihood (Seymore and Rosenfeld 1996) was no better at equal size (``docs/log.md``), and
needs each n-gram's lower orders at the same time. This module must not know files.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from codeling.memory.corpus_table.counting import MAX_COUNT, NgramCounts
from codeling.memory.corpus_table.trie import NgramTrie, seen_codes, weight_codes

_FALLBACK = np.array([0.0, 0.5, 1.0, 1.5])
"""Discounts where a small corpus lacks n-grams of some count."""
_GROWTH = 1.25
"""Factor between two thresholds of an order, where one more is less than that."""

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
U16 = NDArray[np.uint16]
U64 = NDArray[np.uint64]


def discounts(counts_of_counts: I64) -> F64:
    """D for a count of 0, 1, 2 and 3 or more, (4,) (Chen and Goodman 1999, equation 26)."""
    n1, n2, n3, n4 = (float(number) for number in counts_of_counts[1:5])
    if not all((n1, n2, n3)):
        return _FALLBACK
    y = n1 / (n1 + 2 * n2)
    found = np.array([0.0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
    is_valid = (found[1:] > 0) & (found[1:] < [1, 2, 3])
    return found if is_valid.all() else _FALLBACK


def steps(order: int) -> I64:
    """Thresholds of each order at each step, (order + 1, S), ascending; those of 0 and 1 are 0.

    The highest order rises first. That of bigrams is half of the trigrams'. The last step keeps
    nothing: counts beyond MAX_COUNT are equal to it here.
    """
    now = [0, 0, *[1] * (order - 1)]
    rows = [list(now)]
    while min(now[2:]) <= MAX_COUNT:
        for n in range(order, 2, -1):
            now[n] = max(now[n] + 1, int(now[n] * _GROWTH))
            if n == 3:
                now[2] = max(1, now[3] // 2)
            rows.append(list(now))
    thresholds: I64 = np.array(rows, np.int64).T
    return thresholds


class _Kept(NamedTuple):
    """N-grams of one order that may be kept, ascending."""

    keys: U64
    steps: NDArray[np.int16]
    """Last step at which each is kept."""
    weights: U16


class _Contexts(NamedTuple):
    """The contexts of :class:`_Kept`, ascending."""

    keys: U64
    steps: NDArray[np.int16]
    """The largest of any continuation."""
    totals: U64
    """Sum of the counts of all continuations, kept or not."""


def build(
    levels: Sequence[NgramCounts], vocab_size: int, max_entries: int, workers: int = 1
) -> NgramTrie:
    """Choose at most ``max_entries`` n-grams of order 2 or more from ``levels`` (orders 1, 2, …).

    Memory is for the chosen ones, one bucket per worker, and the n-grams of a count that is too
    large to be chosen at the highest order.
    """
    order = len(levels)
    thresholds = steps(order)
    kept: list[_Kept] = []
    totals: list[_Contexts] = []
    sizes = np.zeros(thresholds.shape[1], np.int64)
    base = np.uint64(vocab_size)
    contexts: _Contexts | None = None
    with ThreadPoolExecutor(workers) as pool:
        for level in reversed(levels[1:]):
            least = _first_step(level, thresholds[level.order], sizes, max_entries)
            choose = partial(_choose, level, thresholds[level.order], least, base, contexts)
            found = list(pool.map(choose, range(len(level.paths))))
            chosen = _Kept(*_joined([each for each, _ in found]))
            contexts = _Contexts(*_joined([each for _, each in found]))
            sizes += np.bincount(chosen.steps, minlength=len(sizes))[::-1].cumsum()[::-1]
            kept.append(chosen)
            totals.append(contexts)
    step = int(np.flatnonzero(sizes <= max_entries)[0])
    return _assemble(levels[0], kept[::-1], totals[::-1], step, vocab_size)


def _joined(parts: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Each column of all parts."""
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def _first_step(level: NgramCounts, thresholds: I64, sizes: I64, max_entries: int) -> int:
    """The first step that may fit: this order's n-grams by count, and those of higher orders."""
    by_count = level.counts_of_counts
    at_least = np.append(by_count[::-1].cumsum()[::-1], 0)
    own = at_least[np.minimum(thresholds, MAX_COUNT + 1)]
    return int(np.flatnonzero(sizes + own <= max_entries)[0])


def _choose(
    level: NgramCounts,
    thresholds: I64,
    least: int,
    base: np.uint64,
    needed: _Contexts | None,
    bucket: int,
) -> tuple[_Kept, _Contexts]:
    """The n-grams of one bucket that step ``least`` keeps, and their contexts.

    ``needed`` are the contexts of the next higher order.
    """
    keys, counts = level.read(bucket)
    by_count = np.searchsorted(thresholds, np.arange(MAX_COUNT + 1), side="right") - 1
    last = by_count.astype(np.int16)[np.minimum(counts, MAX_COUNT)]
    if needed is not None and len(keys):
        begin = np.searchsorted(needed.keys, keys[0])
        end = np.searchsorted(needed.keys, keys[-1], side="right")
        places = np.searchsorted(keys, needed.keys[begin:end])
        last[places] = np.maximum(last[places], needed.steps[begin:end])
    chosen = np.flatnonzero(last >= least)
    if not len(chosen):
        return _Kept(keys[:0], last[:0], np.empty(0, np.uint16)), _Contexts(
            keys[:0], last[:0], np.empty(0, np.uint64)
        )
    owners = keys // base
    firsts = np.flatnonzero(np.diff(owners, prepend=~owners[:1]))
    totals = np.add.reduceat(counts, firsts, dtype=np.uint64)
    groups = np.searchsorted(firsts, chosen, side="right") - 1
    discount = discounts(level.counts_of_counts)[np.minimum(counts[chosen], 3)]
    weights = (counts[chosen] - discount) / totals[groups]
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    return (
        _Kept(keys[chosen], last[chosen], weight_codes(weights)),
        _Contexts(
            owners[firsts[groups[starts]]],
            np.maximum.reduceat(last[chosen], starts),
            totals[groups[starts]],
        ),
    )


def _assemble(
    unigrams: NgramCounts,
    kept: Sequence[_Kept],
    contexts: Sequence[_Contexts],
    step: int,
    vocab_size: int,
) -> NgramTrie:
    """The trie of the n-grams that ``step`` keeps; ``kept`` and ``contexts`` are of orders 2, …"""
    base = np.uint64(vocab_size)
    id_type = np.uint16 if vocab_size <= 1 << 16 else np.uint32
    ids: list[Any] = []
    weights, children, seen = [], [], []
    parents = np.arange(vocab_size, dtype=np.uint64)
    for level, of_level in zip(kept, contexts, strict=True):
        is_kept = level.steps >= step
        keys = level.keys[is_kept]
        ids.append((keys % base).astype(id_type))
        weights.append(level.weights[is_kept])
        owners = np.searchsorted(parents, keys // base)
        numbers = np.bincount(owners, minlength=len(parents))
        children.append(np.concatenate([[0], np.cumsum(numbers)]).astype(np.uint32))
        places = np.minimum(np.searchsorted(of_level.keys, parents), len(of_level.keys) - 1)
        codes = np.zeros(len(parents), np.uint8)
        if len(of_level.keys):
            found = np.flatnonzero(numbers)
            codes[found] = seen_codes(of_level.totals[places[found]])
        seen.append(codes)
        parents = keys
    return NgramTrie(_unigrams(unigrams, vocab_size), ids, weights, children, seen)


def _unigrams(level: NgramCounts, vocab_size: int) -> NDArray[np.float32]:
    """Probabilities of order 1; what the discount leaves is spread evenly."""
    keys, counts = level.read(0)
    weights = np.zeros(vocab_size)
    discount = discounts(level.counts_of_counts)[np.minimum(counts, 3)]
    weights[keys.astype(np.int64)] = (counts - discount) / max(1, int(counts.sum(dtype=np.uint64)))
    weights += (1 - weights.sum()) / vocab_size
    return weights.astype(np.float32)
