"""Fixtures of the engine's tests: an engine per runner, with a small random model."""

import pytest

from codeling.generation.engine import Engine
from codeling.generation.runners.conversion import convert
from codeling.generation.runners.fast import FastRunner
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2
from codeling.recipe import TokenizerRecipe
from codeling.tokenizer.tokenizer import Tokenizer
from codeling.tokenizer.train import train

from .engines import CONTEXT, random_model, tensors_of


@pytest.fixture(scope="session")
def small_tokenizer(python_files: list[str]) -> Tokenizer:
    """Tokenizer with 320 entries."""
    return train(python_files[2:5], TokenizerRecipe(vocab_size=320, seed=0))


@pytest.fixture(scope="session")
def small_model() -> GPT2:
    # More entries than the tokenizer: a vocabulary is often padded.
    return random_model(GPT2Config(330, CONTEXT, 2, 2, 32))


@pytest.fixture(scope="module", params=["torch", "fast", "fast int8"])
def engine(small_model: GPT2, small_tokenizer: Tokenizer, request: pytest.FixtureRequest) -> Engine:
    """An engine per runner, all with the same weights."""
    model = small_model
    if request.param == "torch":
        return Engine.from_model(model, small_tokenizer)
    converted = convert(model.config, tensors_of(model), int8=request.param == "fast int8")
    return Engine(FastRunner(converted), small_tokenizer, lambda: model)
