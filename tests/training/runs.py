"""Helpers of the tests of whole runs: a small recipe, stopping it, and comparing results."""

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from codeling.errors import StoppedError
from codeling.model.config import GPT2Config
from codeling.progress import SILENT, Advance, Progress
from codeling.recipe import TrainingRecipe
from codeling.training import metrics
from codeling.training.checkpoint import state
from codeling.training.data import TrainingData
from codeling.training.samples import PromptSampler
from codeling.training.trainer import TrainingResult
from codeling.training.trainer import train as train_without_samples

CONTEXT, STEPS = 48, 12


CONFIG = GPT2Config(512, CONTEXT, 1, 2, 16)


RECIPE = TrainingRecipe(
    steps=STEPS,
    tokens_per_step=4 * CONTEXT,
    micro_batch_size=3,  # three rows, then one
    adamw_lr=0.01,
    muon_lr=0.02,
    validation_tokens=2 * CONTEXT,
    validation_interval=0.25,
    sample_interval=1.0,
    threads=1,
    device="cpu",
    precision="fp32",
    seed=3,
)


CLOCKS = {"seconds", "tokens_per_second", "mfu"}


class Notes(Progress):
    """Collects notes."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def task(
        self, label: str, total: int | None = None, unit: str = "items"
    ) -> AbstractContextManager[Advance]:
        return SILENT.task(label, total, unit)

    def note(self, line: str) -> None:
        self.lines.append(line)


def train(
    recipe: TrainingRecipe, config: GPT2Config, data: TrainingData, folder: Path, **options: Any
) -> TrainingResult:
    """Train with samples, as ``codeling run`` does."""
    sample = PromptSampler(data.tokenizer)
    return train_without_samples(recipe, config, data, folder, sample=sample, **options)


def logged(folder: Path) -> int:
    """Number of logged steps."""
    return sum(line["kind"] == "step" for line in metrics.read(folder / "metrics.jsonl"))


def after(steps: int, folder: Path) -> Callable[[], bool]:
    """A ``should_stop`` that returns True after ``steps`` more steps."""
    before = logged(folder)
    return lambda: logged(folder) >= before + steps


def stop_at(
    steps: int, recipe: TrainingRecipe, inputs: TrainingData, folder: Path, **options: Any
) -> Path:
    """Stop training after ``steps`` more steps; return the last checkpoint."""
    with pytest.raises(StoppedError, match="the same command continues from here"):
        train(recipe, CONFIG, inputs, folder, should_stop=after(steps, folder), **options)
    return state.checkpoints(folder / "checkpoints")[-1]


def digests(checkpoint: Path) -> dict[str, str]:
    names = (state.MODEL_FILE, state.OPTIMIZER_FILE)
    return {name: hashlib.sha256((checkpoint / name).read_bytes()).hexdigest() for name in names}


def log(folder: Path) -> list[dict[str, Any]]:
    """All logged lines without the values of clocks."""
    lines = [*metrics.read(folder / "metrics.jsonl"), *metrics.read(folder / "samples.jsonl")]
    return [{k: v for k, v in line.items() if k not in CLOCKS} for line in lines]


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in log(folder) if line.get("kind") == "step"]


def changed(recipe: TrainingRecipe, **values: Any) -> TrainingRecipe:
    return TrainingRecipe.model_validate(recipe.model_dump() | values)


def last(folder: Path) -> Path:
    return folder / "checkpoints" / state.folder_name(STEPS)


def assert_ended_the_same(folder: Path, whole: Path) -> None:
    assert digests(last(folder)) == digests(last(whole))
    assert log(folder) == log(whole)
