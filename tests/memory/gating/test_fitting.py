"""What is fitted beats what it started from, and finds known parameters."""

import numpy as np
import pytest

from codeling.memory.chain_kernels import TRUST_SHAPE
from codeling.memory.document import document_predictor
from codeling.memory.gating.fitting import fit_gate, fit_trust, gate_shares
from codeling.memory.source import Floats, Ids

VOCAB_SIZE = 50


def repetitive_document(seed: int, num_tokens: int = 4000) -> Ids:
    """Phrases that come again, between random tokens."""
    generator = np.random.default_rng(seed)
    phrases = [generator.integers(1, VOCAB_SIZE, size) for size in (3, 5, 9, 17, 30)]
    tokens = [0]
    while len(tokens) < num_tokens:
        tokens += phrases[generator.integers(len(phrases))].tolist()
        tokens += generator.integers(1, VOCAB_SIZE, 3).tolist()
    return np.array(tokens)


def test_fitted_trust_predicts_better_than_any_constant() -> None:
    def loss(trust: Floats) -> float:
        scores = document_predictor(trust, VOCAB_SIZE).score(repetitive_document(1))
        probability = scores.probability + scores.rest / VOCAB_SIZE
        return float(-np.log(probability).mean())

    counts = document_predictor(np.zeros(TRUST_SHAPE, np.float32), VOCAB_SIZE).count(
        repetitive_document(0)
    )
    fitted = fit_trust(counts, VOCAB_SIZE)
    constants = [np.full(TRUST_SHAPE, t, np.float32) for t in (0.1, 0.3, 0.5, 0.7, 0.9)]
    assert loss(fitted) < min(map(loss, constants)) - 0.05


def test_the_gate_finds_the_shares_that_made_the_data() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(20_000, 2)).astype(np.float32)
    share = 1 / (1 + np.exp(-(2 * x[:, 0] - 1)))
    # Of two tokens the source expects one and the model the other, each with 0.9.
    is_expected = generator.random(len(x)) < 0.1 + 0.8 * share
    probabilities = np.where(is_expected[:, None], [0.1, 0.9], [0.9, 0.1])
    gate = fit_gate(x, probabilities)
    shares = gate_shares(x, probabilities, gate)
    assert shares[:, 1] == pytest.approx(share, abs=0.15)
    assert np.abs(shares[:, 1] - share).mean() < 0.03


def test_a_source_that_proposes_nothing_gets_no_share() -> None:
    x = np.ones((20_000, 1), np.float32)
    probabilities = np.tile([0.1, 0.8], (20_000, 1))
    probabilities[::2, 1] = -1
    shares = gate_shares(x, probabilities, fit_gate(x, probabilities))
    assert (shares[::2] == [1, 0]).all()
    assert (shares[1::2, 1] > 0.9).all()
