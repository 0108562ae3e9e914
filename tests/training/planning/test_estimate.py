from typing import Any

import pytest
import torch

from codeling.errors import UsageError
from codeling.model.config import GPT2Config
from codeling.provenance.index import expected_size
from codeling.recipe import Recipe
from codeling.training.machine import Machine
from codeling.training.planning import estimate as estimate_module
from codeling.training.planning.estimate import EXPECTED_UTILISATION, Estimate, estimate

RATE = 1e12
CORPUS_BYTES = 40 * 10**9


@pytest.fixture(autouse=True)
def known_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate_module, "matrix_rate", lambda machine: RATE)


def of(training: dict[str, Any], **model: Any) -> Estimate:
    values = {"device": "cpu", "precision": "fp32", "threads": 1, **training}
    recipe = Recipe.model_validate({"training": values, "model": model})
    return estimate(recipe.resolved(), CORPUS_BYTES)


def test_the_network_follows_the_recipe() -> None:
    found = of({"steps": 10}, size="small")
    config = GPT2Config(32768, 1024, 12, 12, 768)
    assert found.num_parameters == config.num_parameters
    assert found.num_block_parameters == config.num_block_parameters
    assert found.flops == found.num_tokens * config.train_flops_per_token
    assert (found.device, found.precision) == ("cpu", "fp32")


def test_length_in_steps_tokens_and_minutes() -> None:
    steps = of({"steps": 10, "tokens_per_step": 4096})
    assert (steps.num_steps, steps.num_tokens) == (10, 40960)
    tokens = of({"tokens": 41_000, "tokens_per_step": 4096})
    assert (tokens.num_steps, tokens.num_tokens) == (10, 40960)
    assert of({"tokens": 1, "tokens_per_step": 4096}).num_steps == 1
    minutes = of({"minutes": 3.0, "tokens_per_step": 4096})
    per_step = minutes.seconds / minutes.num_steps
    assert minutes.seconds <= 180 < minutes.seconds + per_step
    assert of({"minutes": 6.0, "tokens_per_step": 4096}).num_steps in (
        2 * minutes.num_steps,
        2 * minutes.num_steps + 1,
    )


def test_seconds_are_operations_over_the_rate_expected() -> None:
    found = of({"steps": 7})
    assert found.seconds == pytest.approx(found.flops / (RATE * EXPECTED_UTILISATION))
    assert found.matrix_flops_per_second == RATE


def test_estimated_memory_grows_with_micro_batch_and_precision() -> None:
    found = of({"steps": 1}, size="small")
    assert found.memory_bytes > 16 * found.num_parameters - 4 * found.num_block_parameters
    fewer = of({"steps": 1, "micro_batch_size": 1}, size="small")
    assert fewer.memory_bytes < found.memory_bytes / 4
    narrow = of({"steps": 1, "precision": "bf16"}, size="small")
    assert fewer.memory_bytes < narrow.memory_bytes < found.memory_bytes


def test_estimated_memory_of_an_accelerator_equals_the_measured() -> None:
    # One H200, torch 2.11: the most that was in use in steps of GPT-2 124M in bf16, in GiB.
    machine = Machine(torch.device("cuda", 0), torch.bfloat16, 1)
    for vocab_size, rows, measured in ((50_304, 16, 9.2), (50_304, 32, 13.5), (32_768, 64, 22.2)):
        config = GPT2Config(vocab_size, 1024, 12, 12, 768)
        found = estimate_module._memory(config, rows, machine) / 2**30
        assert found == pytest.approx(measured, rel=0.1)


def test_a_device_that_is_not_there_is_refused() -> None:
    assert not torch.cuda.is_available() or torch.cuda.device_count() < 99
    with pytest.raises(UsageError, match="CUDA devices here"):
        of({"steps": 1, "device": "cuda:98"})


def test_the_provenance_index_is_that_of_the_corpus() -> None:
    found = of({"steps": 1}).provenance_index
    assert (found, found.num_parts) == (expected_size(CORPUS_BYTES), 4)


def test_bits_per_byte_are_forecast() -> None:
    nano = of({"tokens": 4_000_000})
    assert nano.bits_per_byte_within
    assert 1.2 < nano.bits_per_byte < 1.5
    assert 0 < nano.bits_per_byte_error < 0.2
    assert not of({"tokens": 4_000_000_000}, size="medium").bits_per_byte_within
