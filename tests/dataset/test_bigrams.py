"""Counts of pairs of ids, and the probabilities of what follows each id."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given

from codeling.dataset import bigrams
from codeling.dataset.bigrams import Bigrams, count_bigrams
from codeling.dataset.tokens import TokenFile

from .reading import DOCUMENTS, tokens_of

BOUNDARY = 0


def pairs(found: Bigrams) -> Counter[tuple[int, int]]:
    firsts = np.repeat(np.arange(found.vocab_size), np.diff(found.offsets)).tolist()
    following = zip(firsts, found.following.tolist(), strict=True)
    return Counter(dict(zip(following, found.counts.tolist(), strict=True)))


@pytest.mark.parametrize("vocab_size", [401, 70_000])
@given(documents=DOCUMENTS)
def test_pairs_are_those_of_the_sequences(vocab_size: int, documents: list[list[int]]) -> None:
    ids = [i for document in documents for i in (BOUNDARY, *document)]
    while ids[-1] == BOUNDARY:  # boundaries after the last non-empty document
        ids.pop()
    found = count_bigrams(tokens_of(documents), vocab_size, BOUNDARY)
    assert pairs(found) == Counter(pairwise(ids))


def test_probabilities_are_counts_with_smoothing() -> None:
    found = count_bigrams(tokens_of([[5, 6, 5, 6, 5, 7], [8]]), 10, BOUNDARY)
    rows = found.probabilities(np.array([5, 9, 5]))
    assert rows.shape == (3, 10)
    assert rows.sum(1) == pytest.approx(1)
    assert (rows > 0).all()
    assert (rows[0] == rows[2]).all()
    assert rows[0].argsort()[-2:].tolist() == [7, 6]
    assert rows[1].argmax() in (5, 6)  # never seen: falls back to unigram frequencies
    assert found.frequencies().sum() == pytest.approx(1)
    assert found.frequencies()[5] == pytest.approx(3 / 8)


def test_pieces_from_all_over_a_large_file_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bigrams, "_PIECE", 10)
    documents = [[5] * 50, [6] * 50, [7] * 50, [8] * 50]
    found = count_bigrams(tokens_of(documents), 9, BOUNDARY, max_tokens=60)
    assert 50 <= found.counts.sum() <= 60
    assert set(np.flatnonzero(found.frequencies()).tolist()) >= {5, 6, 7, 8}


def test_an_empty_file_gives_uniform_probabilities() -> None:
    nothing = TokenFile(np.empty(0, np.uint16), np.zeros(1, np.uint64), np.empty(0, np.uint64))
    found = count_bigrams(nothing, 300, BOUNDARY)
    assert found.counts.sum() == 0
    assert found.frequencies().tolist() == [0] * 300
    assert found.probabilities(np.array([3]))[0] == pytest.approx(1 / 300)
