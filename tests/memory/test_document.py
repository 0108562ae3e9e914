"""The memory of one document: laws, and a search by brute force as the oracle."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeling.memory import chain_kernels as kernels
from codeling.memory.chains import Predictor
from codeling.memory.document import LIMIT, ORDERS, DocumentMemory, document_predictor
from codeling.memory.source import Proposal

from .brute_force import match_length, proposal, visited

VOCAB_SIZE = 12
TRUST = np.random.default_rng(0).uniform(0.05, 0.95, kernels.TRUST_SHAPE).astype(np.float32)
PREDICTOR = document_predictor(TRUST, VOCAB_SIZE)
TOKENS = st.integers(0, VOCAB_SIZE - 1)
REPETITIVE = st.lists(
    st.lists(st.integers(0, 3), min_size=1, max_size=30) | st.lists(TOKENS, max_size=5),
    max_size=12,
).map(lambda parts: [token for part in parts for token in part * 2])


def memory(tokens: Sequence[int] = ()) -> DocumentMemory:
    made = DocumentMemory(PREDICTOR)
    made.observe(tokens)
    return made


def as_dict(found: Proposal) -> dict[int, float]:
    return dict(zip(found.ids.tolist(), found.probabilities.tolist(), strict=True))


def assert_equal(first: DocumentMemory, second: DocumentMemory) -> None:
    assert first.ids.tolist() == second.ids.tolist()
    one, other = first.propose(), second.propose()
    assert one.ids.tolist() == other.ids.tolist()
    assert one.probabilities.tolist() == other.probabilities.tolist()
    assert one[2:] == other[2:]


@settings(max_examples=50)
@given(REPETITIVE)
def test_proposals_equal_a_search_by_brute_force(tokens: list[int]) -> None:
    found = memory(tokens).propose()
    expected, rest = proposal(tokens, tokens, ORDERS, LIMIT, TRUST)
    assert as_dict(found) == pytest.approx(expected, abs=1e-6)
    assert found.rest == pytest.approx(rest, abs=1e-6)
    assert sum(as_dict(found).values()) + found.rest == pytest.approx(1, abs=1e-6)
    lengths = [
        match_length(tokens, tokens, place) for place in visited(tokens, tokens, ORDERS, LIMIT)
    ]
    assert found.order == max(lengths, default=0)
    assert found.num_seen == lengths.count(found.order)


def test_only_the_newest_positions_count() -> None:
    tokens = np.random.default_rng(1).integers(0, 3, 400).tolist()
    limited = DocumentMemory(Predictor(TRUST, VOCAB_SIZE, ORDERS, 5))
    limited.observe(tokens)
    found = limited.propose()
    expected, _ = proposal(tokens, tokens, ORDERS, 5, TRUST)
    assert as_dict(found) == pytest.approx(expected, abs=1e-6)


@settings(max_examples=50)
@given(REPETITIVE, REPETITIVE)
def test_forgetting_gives_the_state_before(kept: list[int], removed: list[int]) -> None:
    changed = memory(kept)
    for token in removed:
        changed.observe([token])
    changed.forget(len(removed))
    assert_equal(changed, memory(kept))
    changed.observe(removed)
    assert_equal(changed, memory(kept + removed))


@settings(max_examples=50)
@given(st.lists(REPETITIVE, max_size=4))
def test_a_document_in_pieces_equals_the_document_at_once(pieces: list[list[int]]) -> None:
    in_pieces = memory()
    for piece in pieces:
        in_pieces.observe(piece)
    assert_equal(in_pieces, memory([token for piece in pieces for token in piece]))


@settings(max_examples=50)
@given(REPETITIVE, REPETITIVE, REPETITIVE, st.integers(0, 5))
def test_copies_are_independent(
    shared: list[int], ours: list[int], theirs: list[int], num_removed: int
) -> None:
    original = memory(shared)
    copy = original.fork()
    copy.observe(ours)
    copy_of_copy = copy.fork()
    num_removed = min(num_removed, len(shared))
    original.forget(num_removed)
    original.observe(theirs)
    copy_of_copy.observe(theirs)
    assert_equal(copy, memory(shared + ours))
    assert_equal(copy_of_copy, memory(shared + ours + theirs))
    assert_equal(original, memory(shared[: len(shared) - num_removed] + theirs))
    copy.forget(len(ours))
    assert_equal(copy, memory(shared))


@settings(max_examples=20)
@given(REPETITIVE)
def test_scores_are_the_proposals_at_each_position(tokens: list[int]) -> None:
    scores = PREDICTOR.score(np.array([0, *tokens]))
    growing = memory([0])
    for number, token in enumerate(tokens):
        found = growing.propose()
        probabilities = as_dict(found)
        assert scores.probability[number] == pytest.approx(probabilities.get(token, 0), abs=1e-6)
        assert scores.rest[number] == pytest.approx(found.rest, abs=1e-6)
        assert (scores.order[number], scores.num_seen[number], scores.num_distinct[number]) == (
            found.order,
            found.num_seen,
            found.num_distinct,
        )
        highest = max(probabilities.values(), default=0)
        assert scores.top_probability[number] == pytest.approx(highest, abs=1e-6)
        assert probabilities.get(scores.top[number], 0) == pytest.approx(highest, abs=1e-6)
        growing.observe([token])


def test_places_are_the_positions_after_the_longest_context() -> None:
    found = memory([1, 2, 3, 4, 9, 9, 1, 2, 3, 5, 9, 9, 2, 3, 4, 8, 1, 2, 3])
    assert found.places(4) == [3, 14]  # after 1 2 3, then after 2 3
    assert found.places(5) == [9]
    assert found.places(7) == []
