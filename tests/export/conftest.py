"""Small models to export: one made here, and a foreign one with padded rows."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from codeling.export.export_source import ExportSource
from codeling.export.hugging_face import write_model_folder
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2
from codeling.recipe import TokenizerRecipe
from codeling.tokenizer.tokenizer import Tokenizer
from codeling.tokenizer.train import train


def random_network(config: GPT2Config) -> GPT2:
    """Random weights, large enough that predictions differ."""
    network = GPT2(config)
    network.initialize(0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


WriteModel = Callable[..., Path]


@pytest.fixture
def write_model(tokenizer: Tokenizer, tmp_path: Path) -> WriteModel:
    """A function that writes a model folder and returns it."""

    def write(tokenizer: Tokenizer = tokenizer, width: int = 64, padding: int = 0) -> Path:
        config = GPT2Config(tokenizer.vocab_size + padding, 64, 2, 2, width)
        folder = tmp_path / "model"
        write_model_folder(folder, random_network(config), tokenizer, "# A card\n", 0.5)
        return folder

    return write


@pytest.fixture
def source(write_model: WriteModel) -> ExportSource:
    return ExportSource.read(str(write_model()))


@pytest.fixture(scope="session")
def python_tokenizer(python_files: list[str]) -> Tokenizer:
    """A tokenizer whose cut llama.cpp does not have."""
    return train(python_files[:6], TokenizerRecipe(vocab_size=512, cut="python"))
