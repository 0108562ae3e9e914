import numpy as np
import pytest
import torch

from codeling.generation.engine import Engine
from codeling.generation.logprobs import most_likely
from codeling.generation.request import Request, SamplingParams
from codeling.generation.scoring import score
from codeling.model.config import GPT2Config
from codeling.tokenizer.tokenizer import Tokenizer

from .engines import random_model

CONTEXT = 32


@pytest.fixture(scope="module")
def engine(tokenizer: Tokenizer) -> Engine:
    config = GPT2Config(tokenizer.vocab_size, CONTEXT, 2, 2, 32)
    return Engine.from_model(random_model(config), tokenizer)


@pytest.mark.parametrize("num_top", [0, 1, 5, 40, 99])
def test_log_probabilities_are_those_of_torch(num_top: int) -> None:
    logits = np.random.default_rng(num_top).normal(size=40).astype(np.float32)
    expected = torch.from_numpy(logits).double().log_softmax(0)
    found = most_likely(logits, 3, num_top)
    assert found.id == 3
    assert found.logprob == pytest.approx(float(expected[3]))
    best = expected.topk(min(num_top, 40))
    assert [i for i, _ in found.top] == best.indices.tolist()
    assert [p for _, p in found.top] == pytest.approx(best.values.tolist())


def test_of_equally_likely_ids_the_lowest_comes_first() -> None:
    found = most_likely(np.array([0, 1, 1, 1, 0], np.float32), 0, 2)
    assert [i for i, _ in found.top] == [1, 2]


@pytest.mark.parametrize("temperature", [0.0, 1.3])
def test_log_probabilities_of_a_completion_are_those_of_its_ids(
    engine: Engine, temperature: float
) -> None:
    params = SamplingParams(max_new_tokens=12, temperature=temperature, max_repeats=0)
    asked = engine.add(Request("def f(x):\n", params=params, num_logprobs=3))
    silent = engine.add(Request("def f(x):\n", params=params))
    while asked.finish_reason is None or silent.finish_reason is None:
        engine.step()
    assert silent.logprobs == []
    assert silent.ids == asked.ids
    new = asked.ids[asked.num_prompt :]
    ended = asked.finish_reason == "end_of_text"
    ids = asked.ids + [engine.tokenizer.end_of_text] * ended
    expected = list(score(engine.model, ids, 3))[asked.num_prompt - 1 :]
    assert len(asked.logprobs) == len(new) + ended
    assert [each.id for each in asked.logprobs] == [each.id for each in expected]
    for found, wanted in zip(asked.logprobs, expected, strict=True):
        assert found.logprob == pytest.approx(wanted.logprob, abs=1e-4)
        assert dict(found.top) == pytest.approx(dict(wanted.top), abs=1e-4)
