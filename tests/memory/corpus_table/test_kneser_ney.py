"""Weights and pruning against a slow twin written from the papers."""

from pathlib import Path

import numpy as np
import pytest

from codeling.memory.corpus_table.counting import CorpusTokens, count
from codeling.memory.corpus_table.kneser_ney import build, discounts, steps
from codeling.memory.corpus_table.table import CorpusTable
from codeling.memory.corpus_table.trie import NgramTrie

from .kneser_ney_reference import Gram, Reference, counted, documents


def trie_of(
    tokens: CorpusTokens, order: int, folder: Path, max_entries: int = 1 << 30
) -> NgramTrie:
    levels = count(tokens, order, folder, bucket_keys=50)
    return build(levels, tokens.vocab_size, max_entries)


def grams(trie: NgramTrie) -> list[set[Gram]]:
    """The n-grams of orders 2, 3, …"""
    parents: list[Gram] = [(token,) for token in range(len(trie.unigrams))]
    found = []
    for ids, children in zip(trie.ids, trie.children, strict=True):
        owners = np.repeat(np.arange(len(parents)), np.diff(children.astype(int)))
        parents = [
            (*parents[owner], token) for owner, token in zip(owners, ids.tolist(), strict=True)
        ]
        found.append(set(parents))
    return found


def dense(table: CorpusTable, history: list[int]) -> np.ndarray:
    """(V,): the distribution after ``history``; the rest by the unigrams of the other tokens."""
    proposal = table.propose(np.array(history))
    values = np.array(table._unigrams, np.float64)
    values[proposal.ids] = 0
    if proposal.rest:
        values *= proposal.rest / values.sum()
    values[proposal.ids] = proposal.probabilities
    return values


@pytest.mark.parametrize("order", [3, 4, 5])
def test_probabilities_are_those_of_the_papers(tmp_path: Path, order: int) -> None:
    texts, tokens = documents(seed=order)
    table = CorpusTable(trie_of(tokens, order, tmp_path), tokens.boundary)
    reference = Reference(counted(texts, order), tokens.vocab_size)
    for text in texts[:6]:
        padded = [0] * (order - 1) + text
        for t in range(len(text) + 1):
            expected = reference.distribution(tuple(padded[t : t + order - 1]))
            np.testing.assert_allclose(dense(table, [0, *text[:t]]), expected, rtol=2e-3)
    draw = np.random.default_rng(0)
    for _ in range(50):
        history = draw.integers(1, tokens.vocab_size, draw.integers(order - 1, 9)).tolist()
        np.testing.assert_allclose(
            dense(table, history), reference.distribution(tuple(history)), rtol=2e-3
        )


@pytest.mark.parametrize("max_entries", [0, 40, 200, 300])
def test_the_kept_n_grams_are_those_that_reach_a_threshold_and_their_contexts(
    tmp_path: Path, max_entries: int
) -> None:
    texts, tokens = documents(seed=9, number=60)
    trie = trie_of(tokens, 5, tmp_path, max_entries)
    levels = counted(texts, 5)
    number = sum(map(len, trie.ids))
    assert number <= max_entries
    found = grams(trie)
    boundaries = [{(0,) * n} if found[n - 1] else set() for n in range(2, 5)] + [set()]
    for thresholds in steps(5).T.tolist():
        reference = Reference(levels, tokens.vocab_size, thresholds)
        expected = [kept | more for kept, more in zip(reference.kept[1:], boundaries, strict=True)]
        if sum(map(len, expected)) <= max_entries:
            break
    assert found == expected
    table = CorpusTable(trie, tokens.boundary)
    for history in ([0], [3, 4, 5, 6], [10, 9, 8, 7, 6]):
        np.testing.assert_allclose(
            dense(table, history),
            reference.distribution(tuple([0] * (5 - len(history)) + history)),
            rtol=2e-3,
        )


def test_thresholds_rise_until_nothing_is_kept() -> None:
    for order in (3, 4, 5):
        found = steps(order)
        assert found[2:, 0].tolist() == [1] * (order - 1)
        assert (np.diff(found, axis=1) >= 0).all()
        assert (found[2:, -1] > 1 << 16).all()


def test_discounts_are_those_of_chen_and_goodman() -> None:
    y = 100 / (100 + 2 * 40)
    expected = [0, 1 - 2 * y * 40 / 100, 2 - 3 * y * 20 / 40, 3 - 4 * y * 10 / 20]
    np.testing.assert_allclose(discounts(np.array([7, 100, 40, 20, 10])), expected)
    for too_few in ([0, 0, 0, 0, 0], [0, 5, 0, 1, 1], [0, 9, 9, 0, 1], [0, 90, 9, 90, 1]):
        assert discounts(np.array(too_few)).tolist() == [0, 0.5, 1, 1.5]
