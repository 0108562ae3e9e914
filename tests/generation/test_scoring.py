"""Nats of windows against log-probabilities of all logits, for every runner."""

import numpy as np
import pytest
import torch

from codeling.evaluation.intrinsic import bits_per_byte
from codeling.generation.engine import Engine
from codeling.generation.runners.conversion import convert
from codeling.generation.runners.fast import FastRunner
from codeling.generation.scheduler import Batch, Row
from codeling.generation.scoring import TorchScorer, Window, score, scorer_of
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2
from codeling.tokenizer.tokenizer import Tokenizer

from .engines import CONTEXT, fresh_runner, random_model, tensors_of

LONG = GPT2Config(330, 200, 2, 2, 32)


def windows_of(vocab_size: int, *shapes: tuple[int, int]) -> list[Window]:
    """Random windows of (length, num_context)."""
    random = np.random.default_rng(0)
    found = []
    for length, num_context in shapes:
        ids = random.integers(vocab_size, size=length + 1).tolist()
        found.append(Window(ids[:-1], ids[1:], num_context))
    return found


def test_nats_are_those_of_all_logits(engine: Engine) -> None:
    runner, scorer = fresh_runner(engine), scorer_of(engine)
    assert scorer.context_length == CONTEXT
    assert scorer.precision == engine.runner.precision
    runner.reserve(1)
    windows = windows_of(runner.vocab_size, (1, 0), (CONTEXT, 16), (9, 0), (20, 16), (CONTEXT, 0))
    expected = []
    for window in windows:
        logits = runner.run(Batch(rows=[Row(0, 0, list(window.inputs), len(window.inputs))]))
        logits = logits[window.num_context :].astype(np.float64)
        of_targets = logits[range(len(logits)), window.targets[window.num_context :]]
        expected.append(float((np.log(np.exp(logits).sum(1)) - of_targets).sum()))
    assert scorer.nats(windows) == pytest.approx(expected, rel=1e-6)
    assert scorer.nats([]) == []


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_window_longer_than_a_step_has_the_nats_of_torch_alone_and_together(
    small_tokenizer: Tokenizer, precision: str
) -> None:
    """Lengths and contexts that are multiples of no tile and no step."""
    model = random_model(LONG)
    runner = FastRunner(convert(LONG, tensors_of(model), int8=precision == "int8"))
    scorer = scorer_of(Engine(runner, small_tokenizer, lambda: model))
    windows = windows_of(LONG.vocab_size, (200, 100), (131, 77), (64, 0), (200, 0), (65, 64))
    together = scorer.nats(windows)
    assert together == [scorer.nats([window])[0] for window in reversed(windows)][::-1]
    rel = 1e-6 if precision == "fp32" else 0.02
    assert together == pytest.approx(TorchScorer(model).nats(windows), rel=rel)


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_the_batch_size_does_not_matter(small_model: GPT2, batch_size: int) -> None:
    windows = windows_of(330, *((length, length // 3) for length in range(1, CONTEXT + 1)))
    found = TorchScorer(small_model, batch_size).nats(windows)
    assert found == pytest.approx(TorchScorer(small_model).nats(windows), rel=1e-6)


def test_torch_scores_in_fp32_and_the_model_keeps_its_type(small_model: GPT2) -> None:
    windows = windows_of(330, (CONTEXT, 16), (9, 0))
    exact = TorchScorer(small_model).nats(windows)
    small_model.compute_dtype = torch.bfloat16
    try:
        assert TorchScorer(small_model).nats(windows) == exact
        assert small_model.compute_dtype == torch.bfloat16
    finally:
        small_model.compute_dtype = torch.float32


@pytest.mark.parametrize("characters", [1, 40, 700])
def test_the_sum_over_a_document_is_its_nats_in_bits_per_byte(
    tokenizer: Tokenizer, python_files: list[str], characters: int
) -> None:
    model = random_model(GPT2Config(tokenizer.vocab_size, CONTEXT, 1, 2, 16))
    text = python_files[1][:characters]
    ids = [tokenizer.end_of_text, *tokenizer.encode(text)]
    scores = list(score(model, ids, 1))
    assert [each.id for each in scores] == ids[1:]
    nats = bits_per_byte(TorchScorer(model), tokenizer, [text]).nats
    assert -sum(each.logprob for each in scores) == pytest.approx(nats, rel=1e-5)
    assert all(each.top[0][1] >= each.logprob for each in scores)


@pytest.mark.parametrize("ids", [[], [0]])
def test_ids_without_one_before_them_have_no_score(tokenizer: Tokenizer, ids: list[int]) -> None:
    model = random_model(GPT2Config(tokenizer.vocab_size, CONTEXT, 1, 2, 16))
    assert list(score(model, ids, 1)) == []
