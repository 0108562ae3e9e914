"""The scores that the memory is fitted on and measured by are those of completing."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from codeling.evaluation.memory_scores import ProjectFile, collect, fit_memory
from codeling.memory.gating.fitting import Evidence, mix_evidence
from codeling.memory.gating.parameters import Parameters
from codeling.memory.mixture import MemoryMixture
from codeling.memory.source import Ids
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2

VOCAB_SIZE = 40


def repetitive(seed: int, num_tokens: int = 300) -> Ids:
    generator = np.random.default_rng(seed)
    phrases = [generator.integers(1, VOCAB_SIZE, 8) for _ in range(4)]
    tokens = [0]
    while len(tokens) < num_tokens:
        tokens += phrases[generator.integers(4)].tolist()
        tokens += generator.integers(1, VOCAB_SIZE, 2).tolist()
    return np.array(tokens)


FILES = [
    ProjectFile("a", "1.py", repetitive(0), is_scored=False),
    ProjectFile("a", "2.py", repetitive(0)[:200]),
    ProjectFile("b", "1.py", repetitive(1)),
    ProjectFile("b", "3.py", repetitive(2)),
]


@pytest.fixture(scope="module")
def model() -> GPT2:
    network = GPT2(GPT2Config(VOCAB_SIZE + 3, 512, 1, 2, 32))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.1, generator=generator)
    return network


@pytest.fixture(scope="module")
def fitted(model: GPT2) -> Parameters:
    return fit_memory(model, FILES, None, VOCAB_SIZE)


def mixed(evidence: Evidence, parameters: Parameters, *names: str) -> NDArray[np.float64]:
    return mix_evidence(evidence, parameters.gates, names).probability


def test_scores_equal_the_mixture_token_by_token(model: GPT2, fitted: Parameters) -> None:
    evidence = collect(model, FILES, fitted, None, VOCAB_SIZE)[1]
    scored = mixed(evidence, fitted, "document")
    ids = FILES[2].ids
    with torch.inference_mode():
        logits = model(torch.from_numpy(ids[None, :-1]))[0].numpy()
    state = MemoryMixture(fitted, [b"x"] * VOCAB_SIZE).open([0])
    for number, token in enumerate(ids[1:].tolist()):
        row = logits[number].copy()
        state.mix(row)
        assert np.exp(row[token]) == pytest.approx(scored[number], rel=1e-3, abs=1e-6)
        state.observe(token)


def test_each_source_makes_repetitive_files_more_likely(model: GPT2, fitted: Parameters) -> None:
    evidence = Evidence.concatenate(collect(model, FILES, fitted, None, VOCAB_SIZE))
    alone = -evidence.model.log_probability.mean()
    document = -np.log(mixed(evidence, fitted, "document")).mean()
    everything = -np.log(mixed(evidence, fitted, "document", "project")).mean()
    assert everything < document < alone - 1


def test_the_project_is_the_files_before_a_file(model: GPT2, fitted: Parameters) -> None:
    found = collect(model, FILES, fitted, None, VOCAB_SIZE)
    orders = [each.sources["project"].order for each in found]
    assert orders[0][30:].min() >= 16  # a copy of the file before it
    assert orders[1].max() == 0  # the first file of its repository
    assert orders[2].max() > 0
    assert found[0].sources["document"].order.max() < 24
