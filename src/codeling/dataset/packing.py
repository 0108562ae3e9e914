"""An order of chunks in which few of them run over the end of a row.

Best-fit decreasing: the largest chunk that still fits in what is left of the row; where none
does, the largest of all, whose rest begins the next row. So nothing is cropped and nothing
padded, and every chunk stands in the order once. Source: Ding et al. 2024, "Fewer Truncations
Improve Language Modeling"; there what is left of a row is padded, in nanochat it is filled with
the beginning of a chunk whose rest is cropped. This module must not know about ids.
"""

from bisect import bisect_right
from collections.abc import Sequence


def best_fit(sizes: Sequence[int], room: int, row: int) -> list[int]:
    """The places of ``sizes`` in the order in which to put them.

    ``row`` is how much a row holds, ``room`` how much is left of the first one, 1 … ``row``.
    Equal sizes keep their order.
    """
    left = sorted(range(len(sizes)), key=lambda place: (sizes[place], -place))
    keys = [sizes[place] for place in left]
    order = []
    while left:
        fits = bisect_right(keys, room)
        chosen = fits - 1 if fits else len(left) - 1
        order.append(left.pop(chosen))
        room -= keys.pop(chosen)
        room = room % row or row
    return order


def num_cut(sizes: Sequence[int], room: int, row: int) -> int:
    """How many of ``sizes`` that fit in a row run over the end of one, in this order."""
    cut = 0
    for size in sizes:
        cut += room < size <= row
        room = (room - size) % row or row
    return cut
