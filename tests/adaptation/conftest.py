"""A small run to adapt, and a small project."""

import shutil
import sysconfig
from pathlib import Path

import pytest

from codeling.export.hugging_face import write_model_folder
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2
from codeling.recipe import Recipe, parse_recipe
from codeling.run_folder import RunFolder
from codeling.tokenizer.tokenizer import Tokenizer

from .test_replay import old_run

RECIPE = """
[training]
steps = 6
tokens_per_step = 128
mixture_exponent = 0
validation_tokens = 64
validation_interval = 0.5
sample_interval = 1.0
threads = 1
device = "cpu"
precision = "fp32"
"""


@pytest.fixture
def base(tokenizer: Tokenizer, python_files: list[str], tmp_path: Path) -> RunFolder:
    """A run with a model of random weights, its token file and a memory."""
    run = old_run(tmp_path / "base", python_files[:4], tokenizer)
    network = GPT2(GPT2Config(tokenizer.vocab_size, 32, 1, 2, 16))
    network.initialize(0)
    write_model_folder(run.model, network, tokenizer, "---\nlicense: mit\n---\n", 0.5)
    run.recipe.write_text("")
    run.memory.mkdir()
    (run.memory / "corpus.safetensors").write_bytes(b"a table")
    return run


@pytest.fixture
def recipe(base: RunFolder) -> Recipe:
    return parse_recipe(RECIPE, [f'training.init="{base.path}"'])


@pytest.fixture
def project(tmp_path: Path) -> Path:
    library = Path(sysconfig.get_paths()["stdlib"])
    folder = tmp_path / "project"
    shutil.copytree(library / "json", folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder
