"""The warm start learns the bigrams of the corpus before training."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from codeling.dataset.bigrams import Bigrams, count_bigrams
from codeling.errors import StoppedError
from codeling.model.gpt2 import GPT2
from codeling.training.checkpoint import state
from codeling.training.clock import Stopwatch
from codeling.training.data import TrainingData
from codeling.training.warm_start import warm_start
from codeling.training.warm_start.warm_start import learn_bigrams

from ..runs import CONFIG, RECIPE, changed, logged, losses, train

BOUNDARY = 0


@pytest.fixture
def bigrams(inputs: TrainingData) -> Bigrams:
    return count_bigrams(inputs.train, CONFIG.vocab_size, BOUNDARY)


def learn(model: GPT2, bigrams: Bigrams, updates: int, seed: int = 1) -> dict[str, torch.Tensor]:
    assert learn_bigrams(model, bigrams, changed(RECIPE, warm_start_steps=updates, seed=seed))
    return model.state_dict()


def fresh() -> GPT2:
    model = GPT2(CONFIG)
    model.initialize(seed=0)
    return model


def nats(model: GPT2, bigrams: Bigrams) -> float:
    """Mean nats of the counted pairs, each first token alone in its sequence."""
    with torch.no_grad():
        logits = model(torch.arange(CONFIG.vocab_size)[:, None])[:, 0]
    firsts = np.repeat(np.arange(CONFIG.vocab_size), np.diff(bigrams.offsets))
    found = torch.log_softmax(logits, -1)[firsts, bigrams.following].numpy()
    return float(-(found * bigrams.counts).sum() / bigrams.counts.sum())


def test_a_slow_warm_start_ends_early_and_keeps_its_weights(bigrams: Bigrams) -> None:
    model, answers = fresh(), iter([False] * 20 + [True])
    recipe = changed(RECIPE, warm_start_steps=60)
    assert learn_bigrams(model, bigrams, recipe, is_out_of_time=lambda: next(answers))
    assert nats(model, bigrams) < nats(fresh(), bigrams) - 0.1
    assert next(answers, None) is None


def test_a_run_by_the_clock_spends_a_quarter_on_its_warm_start_at_most(
    inputs: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def slow(*arguments: Any) -> None:
        is_out_of_time = arguments[-1]
        asked.append(is_out_of_time())
        monkeypatch.setattr(Stopwatch, "seconds", lambda self: 0.26 * 60)
        asked.append(is_out_of_time())

    monkeypatch.setattr(warm_start, "warm_started_weights", slow)
    recipe = changed(RECIPE, steps=None, minutes=1.0, warm_start_steps=5)
    with pytest.raises(StoppedError):
        train(recipe, CONFIG, inputs, tmp_path)
    assert asked == [False, True]


def test_the_model_learns_the_bigrams_and_no_other_weight_changes(bigrams: Bigrams) -> None:
    model = fresh()
    learn(model, bigrams, 60)
    totals = np.bincount(bigrams.following, bigrams.counts)
    shares = totals[totals > 0] / totals.sum()
    of_single_tokens = float(-(shares * np.log(shares)).sum())
    assert nats(model, bigrams) < of_single_tokens - 0.5
    before, after = fresh().state_dict(), model.state_dict()
    differ = {name for name in before if not torch.equal(before[name], after[name])}
    last = f"h.{CONFIG.n_layer - 1}."
    learned = ("wte.", f"{last}ln_2.", f"{last}mlp.", "ln_f.")
    assert differ == {name for name in before if name.startswith(learned)}


def test_equal_seeds_give_equal_weights(bigrams: Bigrams) -> None:
    first, again, other = (learn(fresh(), bigrams, 3, seed) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_a_large_vocabulary_is_processed_in_parts(
    bigrams: Bigrams, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = learn(fresh(), bigrams, 1)
    monkeypatch.setattr(warm_start, "_MAX_LOGITS", 10_000)
    parts = learn(fresh(), bigrams, 1)
    for name in whole:
        torch.testing.assert_close(parts[name], whole[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("rows", [1, 7, 40, 100])
def test_ids_are_drawn_with_their_probabilities(rows: int) -> None:
    shares = np.random.default_rng(0).pareto(1.0, 100)
    shares[:10] = 0
    shares /= shares.sum()
    probabilities = warm_start._inclusion_probabilities(shares, rows)
    assert probabilities.sum() == pytest.approx(rows)
    assert (probabilities > 0).all()
    assert probabilities.max() <= 1
    drawn = np.random.default_rng(1)
    times = np.zeros(100)
    for _ in range(4000):
        ids = warm_start._draw_ids(probabilities, drawn)
        assert len(ids) == rows
        times[ids] += 1
    assert times / 4000 == pytest.approx(probabilities, abs=0.04)


@pytest.mark.usefixtures("small_and_quick")
def test_a_warm_start_lowers_the_first_loss(inputs: TrainingData, tmp_path: Path) -> None:
    first = {}
    for updates in (0, 60):
        folder = tmp_path / str(updates)
        train(changed(RECIPE, steps=1, warm_start_steps=updates), CONFIG, inputs, folder)
        (first[updates],) = losses(folder)
    assert first[60] < first[0] - 1.0


@pytest.mark.usefixtures("small_and_quick")
def test_a_stop_before_the_first_step_leaves_no_checkpoint(
    inputs: TrainingData, tmp_path: Path
) -> None:
    recipe = changed(RECIPE, warm_start_steps=5)
    with pytest.raises(StoppedError, match="the same command starts again"):
        train(recipe, CONFIG, inputs, tmp_path, should_stop=lambda: True)
    assert logged(tmp_path) == 0
    assert not state.checkpoints(tmp_path / "checkpoints")
