"""The mixture is a distribution, and does not depend on how its document was read."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from codeling.memory.chain_kernels import TRUST_SHAPE
from codeling.memory.gating.gate import Gate, num_features
from codeling.memory.gating.parameters import Parameters, load_parameters
from codeling.memory.mixture import MemoryMixture
from codeling.memory.source import Ids, Proposal, Scores

VOCAB_SIZE, NUM_LOGITS = 300, 310
TOKEN_BYTES = [b"", *(bytes([number % 256]) for number in range(1, VOCAB_SIZE))]
LISTS = st.lists(st.integers(1, 9) | st.integers(1, VOCAB_SIZE - 1), max_size=60)


class FixedSource:
    """Proposes the same two tokens after each token but 9."""

    def propose(self, history: Ids) -> Proposal:
        if not len(history) or history[-1] == 9:
            return Proposal(np.empty(0, np.int64), np.empty(0, np.float32), 1.0, 0, 0, 0)
        return Proposal(np.array([3, 7]), np.array([0.5, 0.2], np.float32), 0.3, 2, 5, 2)

    def score(self, ids: Ids) -> Scores:
        raise NotImplementedError


def random_parameters(*names: str) -> Parameters:
    generator = np.random.default_rng(len(names))
    shape = len(names) + 1, num_features(len(names))
    gate = Gate(
        generator.normal(size=shape).astype(np.float32),
        generator.normal(size=shape[0]).astype(np.float32),
    )
    trust = generator.uniform(0, 1, TRUST_SHAPE).astype(np.float32)
    return Parameters({"document": trust}, {"+".join(names): gate})


def logits_of(seed: int) -> NDArray[np.float32]:
    logits = np.random.default_rng(seed).normal(scale=5, size=NUM_LOGITS).astype(np.float32)
    logits[VOCAB_SIZE] = -np.inf
    return logits


ALONE = MemoryMixture(random_parameters("document"), TOKEN_BYTES)
WITH_CORPUS = MemoryMixture(
    random_parameters("document", "corpus"), TOKEN_BYTES, corpus=FixedSource()
)


@pytest.mark.parametrize("mixture", [ALONE, WITH_CORPUS], ids=["document", "corpus"])
@settings(max_examples=50)
@given(before=LISTS, after=LISTS, picked=LISTS, seed=st.integers(0, 99))
def test_the_mixture_is_a_distribution_in_any_state(
    mixture: MemoryMixture, before: list[int], after: list[int], picked: list[int], seed: int
) -> None:
    state = mixture.open([0, *before], after)
    for token in picked:
        state.observe(token)
    logits = logits_of(seed)
    model = np.exp(logits - logits.max(), dtype=np.float64)
    model /= model.sum()
    state.mix(logits)
    mixed = np.exp(logits, dtype=np.float64)
    assert mixed.sum() == pytest.approx(1, abs=1e-6)
    assert state.shares.sum() == pytest.approx(1, abs=1e-12)
    assert (state.shares >= 0).all()
    expected = state.shares[0] * model
    for share, proposal in zip(state.shares[1:], state.proposals, strict=True):
        if len(proposal.ids):
            expected[proposal.ids] += share * proposal.probabilities / proposal.probabilities.sum()
        else:
            assert share == 0
    assert mixed == pytest.approx(expected, abs=1e-6)


@settings(max_examples=50)
@given(st.lists(LISTS, min_size=1, max_size=6), LISTS)
def test_documents_that_continue_each_other_equal_documents_read_anew(
    prompts: list[list[int]], picked: list[int]
) -> None:
    kept = MemoryMixture(random_parameters("document"), TOKEN_BYTES)
    states = []
    text = [0]
    for number, prompt in enumerate(prompts):
        text = [*text[: len(text) - number], *prompt]  # what is typed, and sometimes removed
        state = kept.open(text)
        for token in picked[:number]:
            state.observe(token)
        states.append((text, picked[:number], state))
    for text, tokens, state in states:
        anew = MemoryMixture(random_parameters("document"), TOKEN_BYTES).open(text)
        for token in tokens:
            anew.observe(token)
        ours, theirs = logits_of(1), logits_of(1)
        state.mix(ours)
        anew.mix(theirs)
        assert ours.tolist() == theirs.tolist()


def test_a_text_that_continues_as_it_did_before_is_proposed_with_its_place() -> None:
    text = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    parameters = load_parameters()
    state = MemoryMixture(parameters, TOKEN_BYTES).open([0, *text, 5, 6, *text[:4]], record=True)
    for token in text[4:]:
        logits = np.zeros(NUM_LOGITS, np.float32)
        state.mix(logits)
        assert logits.argmax() == token
        state.observe(token)
    (span,) = state.spans()
    assert (span.text.encode("latin-1"), span.source, span.path) == (
        bytes(text[4:]),
        "document",
        None,
    )
    assert (span.start_line, span.end_line) == (2, 2)  # id 10 is a line feed
    assert span.share > 0.5


def test_text_after_the_gap_is_known_too() -> None:
    text = [20, 30, 40, 50, 60, 70, 80, 90, 100]
    state = MemoryMixture(load_parameters(), TOKEN_BYTES).open(
        [0, 10, 10, *text[:4]], [10, *text], record=True
    )
    for token in text[4:]:
        logits = np.zeros(NUM_LOGITS, np.float32)
        state.mix(logits)
        assert logits.argmax() == token
        state.observe(token)
    (span,) = state.spans()
    assert span.start_line == 4  # two line feeds before the gap, one after it


@settings(max_examples=30, deadline=None)
@given(before=LISTS, picked=st.lists(st.integers(1, VOCAB_SIZE - 1), max_size=12))
def test_the_shares_of_every_token_sum_to_one(before: list[int], picked: list[int]) -> None:
    state = WITH_CORPUS.open([0, *before], record=True)
    for number, token in enumerate(picked):
        logits = logits_of(number)
        model = np.exp(logits - logits.max(), dtype=np.float64)
        model /= model.sum()
        state.mix(logits)
        given = state.shares[0] * model[token] / np.exp(logits[token], dtype=np.float64)
        state.observe(token)
        shares = state.token_shares()[-1]
        assert sum(shares.values()) == pytest.approx(1)
        assert shares["model"] == pytest.approx(given, abs=1e-4)
        assert set(shares) <= {"model", "document", "corpus"}
    assert len(state.token_shares()) == len(picked)
    state = WITH_CORPUS.open([0, *before])
    state.mix(logits_of(0))
    state.observe(1)
    assert state.token_shares() == []
