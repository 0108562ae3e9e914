import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeling.dataset.packing import best_fit, num_cut

SIZES = st.lists(st.integers(1, 50), max_size=60)


@given(sizes=SIZES, row=st.integers(1, 20), data=st.data())
def test_every_chunk_stands_in_the_order_once(
    sizes: list[int], row: int, data: st.DataObject
) -> None:
    room = data.draw(st.integers(1, row))
    assert sorted(best_fit(sizes, room, row)) == list(range(len(sizes)))


def test_the_largest_that_fits_comes_first() -> None:
    assert best_fit([3, 9, 5, 2, 5], 10, 10) == [1, 2, 4, 0, 3]
    # 9, then nothing fits into 1: the largest of all, 5, runs over. Into the 6 left fits 5.
    assert best_fit([3, 9], 4, 10) == [0, 1]
    assert best_fit([7, 8], 3, 10) == [1, 0]
    assert best_fit([], 4, 10) == []


@pytest.mark.parametrize("row", [64, 256])
def test_far_fewer_are_cut_than_in_a_drawn_order(row: int) -> None:
    generator = random.Random(0)
    sizes = [min(4 * row, int(generator.lognormvariate(3.5, 1.2)) + 1) for _ in range(4096)]
    drawn = num_cut(sizes, row, row)
    fitted = num_cut([sizes[place] for place in best_fit(sizes, row, row)], row, row)
    assert drawn > 500
    assert fitted < drawn / 10
