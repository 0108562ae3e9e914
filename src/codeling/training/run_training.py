"""Train the model of a run folder: its recipe, its tokens, and the model that it starts from."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from codeling.dataset.mixture import read_repository_numbers
from codeling.dataset.tokens import open_tokens
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2
from codeling.progress import Progress
from codeling.recipe import Recipe
from codeling.tokenizer.tokenizer import Tokenizer
from codeling.training.checkpoint import state
from codeling.training.data import TrainingData
from codeling.training.initial_model import InitialModel
from codeling.training.samples import PromptSampler
from codeling.training.trainer import (
    TrainingResult,
    identify,
    identify_as_previous_version,
    train,
)


def train_run(
    recipe: Recipe,
    initial: InitialModel | None,
    folder: Path,
    made_from: Mapping[str, str],
    progress: Progress,
    should_stop: Callable[[], bool],
) -> TrainingResult:
    """Train on ``tokens/`` and ``tokenizer/`` of ``folder``, or continue from its checkpoints.

    ``recipe`` is resolved, ``initial`` is the model of its ``training.init``, and ``made_from`` has
    the SHA-256 of the inputs in ``folder``.

    :raises CodelingError: as :func:`codeling.training.trainer.train`.
    """
    data = TrainingData(
        Tokenizer.load(folder / "tokenizer"),
        open_tokens(folder / "tokens" / "train.bin"),
        open_tokens(folder / "tokens" / "validation.bin"),
        read_repository_numbers(folder / "tokens" / "train.json"),
    )
    settings = recipe.training
    config = model_config(recipe, data.tokenizer.vocab_size, initial)
    inputs = {**made_from, **(initial.digests if initial else {})}

    def initial_weights() -> dict[str, Tensor]:
        assert initial is not None
        found = initial.weights(config.context_length, settings.seed)
        return {name: torch.from_numpy(tensor) for name, tensor in found.items()}

    return train(
        settings,
        config,
        data,
        folder,
        identity=identify(settings, config, inputs),
        previous_identity=identify_as_previous_version(settings, config, inputs),
        initial_weights=initial_weights if initial else None,
        sample=PromptSampler(data.tokenizer),
        progress=progress,
        should_stop=should_stop,
    )


def model_config(recipe: Recipe, vocab_size: int, initial: InitialModel | None) -> GPT2Config:
    """The sizes of the model that ``recipe``, which is resolved, trains."""
    shape = recipe.model.model_dump(exclude={"size"})
    if initial is not None:
        return initial.config_for(shape["context_length"])
    return GPT2Config(vocab_size=vocab_size, **shape)


def last_network(folder: Path, config: GPT2Config) -> GPT2:
    """The network of the newest checkpoint of a run folder."""
    network = GPT2(config)
    network.load_state_dict(state.load(state.checkpoints(folder / "checkpoints")[-1]).model)
    return network
