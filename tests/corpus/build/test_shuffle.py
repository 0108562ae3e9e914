import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from codeling.corpus.build.shuffle import shuffled

DIGESTS = st.lists(
    st.tuples(*[st.integers(0, 2**64 - 1)] * 2), min_size=1, max_size=40, unique=True
)


@given(DIGESTS, st.integers(0, 5), st.randoms(use_true_random=False))
def test_the_order_follows_the_texts_alone(
    rows: list[tuple[int, int]], seed: int, draw: np.random.Generator
) -> None:
    digests = np.array(rows, np.uint64).reshape(-1, 2)
    order = shuffled(digests, seed)
    assert sorted(order.tolist()) == list(range(len(rows)))
    mixed = list(range(len(rows)))
    draw.shuffle(mixed)
    assert (digests[mixed][shuffled(digests[mixed], seed)] == digests[order]).all()
    # Without one document, the others are in the same order.
    rest = np.delete(digests, order[0], axis=0)
    assert (rest[shuffled(rest, seed)] == digests[order[1:]]).all()


def test_the_seed_decides() -> None:
    digests = np.arange(200, dtype=np.uint64).reshape(-1, 2)
    assert shuffled(digests, 0).tolist() != shuffled(digests, 1).tolist()
    assert shuffled(digests, 0).tolist() != list(range(100))


def test_no_documents_have_an_order() -> None:
    assert shuffled(np.empty((0, 2), np.uint64), 0).tolist() == []
