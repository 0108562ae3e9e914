import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from codeling.corpus.dedup.exact import Digests, DigestSet, digest, first_copies, origins, to_array

# Digests that share one half are different.
VALUES = st.tuples(st.sampled_from([0, 1, 2**64 - 1]), st.integers(0, 3))
DIGESTS = st.lists(VALUES, max_size=60)


def array(values: list[tuple[int, int]]) -> Digests:
    return np.array(values, np.uint64).reshape(-1, 2)


def test_white_space_alone_makes_no_difference() -> None:
    assert digest("def f(x):\n    return x\n") == digest("def f(x):\n\treturn  x")
    assert digest("def f(x): return x") != digest("def f(y): return y")


def test_digests_as_numbers_are_equal_where_the_digests_are() -> None:
    one, two = digest("a"), digest("b")
    rows = to_array(one + two + one)
    assert (rows[0] == rows[2]).all()
    assert (rows[0] != rows[1]).any()


@given(st.lists(st.tuples(VALUES, st.integers(1, 9)), max_size=60))
def test_first_copies_against_its_definition(rows: list[tuple[tuple[int, int], int]]) -> None:
    values = [value for value, _ in rows]
    first, copies = first_copies(array(values), np.array([n for _, n in rows], np.int64))
    for i, value in enumerate(values):
        assert first[i] == (value not in values[:i])
        assert copies[i] == sum(n for other, n in rows if other == value)


@given(DIGESTS)
def test_origins_are_the_first_of_their_digest(values: list[tuple[int, int]]) -> None:
    assert origins(array(values)).tolist() == [values.index(value) for value in values]


@given(st.lists(DIGESTS, max_size=8))
def test_a_digest_set_equals_a_set(batches: list[list[tuple[int, int]]]) -> None:
    seen, known = DigestSet(), set()
    for batch in batches:
        for value, is_new in zip(batch, seen.add(array(batch)).tolist(), strict=True):
            assert is_new == (value not in known)
            known.add(value)
