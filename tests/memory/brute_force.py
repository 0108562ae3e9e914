"""Proposals by definition: every context length is counted by comparing lists."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codeling.memory import chain_kernels as kernels
from codeling.memory.source import Ids


def visited(history: Sequence[int], ids: Sequence[int], orders: Ids, limit: int) -> set[int]:
    """For each order, the newest ``limit`` positions of ``ids`` after the history's last tokens."""
    places: set[int] = set()
    for order in orders:
        if order <= len(history):
            context = list(history[len(history) - order :])
            all_places = [
                place
                for place in range(order, len(ids))
                if ids[place] >= 0 and list(ids[place - order : place]) == context
            ]
            places |= set(all_places[-limit:])
    return places


def match_length(history: Sequence[int], ids: Sequence[int], place: int) -> int:
    """Number of equal tokens before ``place`` and at the end of the history."""
    length = 0
    while (
        length < min(kernels.LONGEST, place, len(history))
        and ids[place - 1 - length] == history[len(history) - 1 - length]
    ):
        length += 1
    return length


def proposal(
    history: Sequence[int],
    ids: Sequence[int],
    orders: Ids,
    limit: int,
    trust: NDArray[np.float32],
) -> tuple[dict[int, float], float]:
    """Probabilities of the proposed tokens, and the rest: the recursion of ``kernels.blend``."""
    places = visited(history, ids, orders, limit)
    probabilities: dict[int, float] = {}
    rest = 1.0
    for length in range(1, kernels.LONGEST + 1):
        counts = Counter(
            ids[place] for place in places if match_length(history, ids, place) >= length
        )
        if not counts:
            break
        c_group = int(np.searchsorted(kernels.COUNT_GROUPS, counts.total()))
        d_group = int(np.searchsorted(kernels.DISTINCT_GROUPS, len(counts)))
        t = float(trust[length - 1, c_group, d_group])
        probabilities = {
            token: t * counts[token] / counts.total() + (1 - t) * probabilities.get(token, 0.0)
            for token in probabilities.keys() | counts.keys()
        }
        rest *= 1 - t
    return probabilities, rest
