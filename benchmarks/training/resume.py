"""A run that was stopped ends with the same weights as an uninterrupted one.

Trains three times on the standard library of the running interpreter: twice without interruption,
and once stopped halfway and resumed. On a processor all three are equal to the bit (`make proof`
tests twenty such stops). On an accelerator sums have no fixed order: the first two runs show how
much uninterrupted runs differ, and the third should differ no more.

    python -m benchmarks.training.resume --size nano --steps 20 --tokens-per-step 2048
    python -m benchmarks.training.resume   # GPT-2 124M, on an accelerator
"""

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.library import write_library
from codeling.errors import StoppedError
from codeling.model.config import GPT2Config
from codeling.recipe import parse_recipe
from codeling.training import metrics
from codeling.training.checkpoint import state
from codeling.training.data import TrainingData
from codeling.training.trainer import train


@dataclass(frozen=True)
class FinishedRun:
    """The losses and weights of a finished run."""

    losses: dict[int, float]
    """Nats per token by step."""
    weights: dict[str, Tensor]


def main() -> None:
    """Train three times and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="small", help="model.size (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=40, help="training steps")
    parser.add_argument(
        "--tokens-per-step", type=int, default=131_072, help="training.tokens_per_step"
    )
    options = parser.parse_args()
    text = f'[model]\nsize = "{options.size}"\n[training]\nsteps = {options.steps}\n'
    text += f"tokens_per_step = {options.tokens_per_step}\ncheckpoint_minutes = 60\n"
    text += "validation_interval = 0.5\nsample_interval = 1\n"
    recipe = parse_recipe(text, []).resolved()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tokenizer, tokens = write_library(folder)
        shape = recipe.model.model_dump(exclude={"size"})
        config = GPT2Config(vocab_size=tokenizer.vocab_size, **shape)
        inputs = TrainingData(tokenizer, tokens, tokens)

        def run(name: str, should_stop: Callable[[], bool] = lambda: False) -> FinishedRun:
            result = train(recipe.training, config, inputs, folder / name, should_stop=should_stop)
            return FinishedRun(losses(folder / name), dict(state.load(result.checkpoint).model))

        first, repeated = run("first"), run("repeated")
        try:
            run("stopped", lambda: len(losses(folder / "stopped")) >= options.steps // 2)
        except StoppedError as stopped:
            print(stopped)
        resumed = run("stopped")
    for name, other in (("repeated", repeated), ("stopped and resumed", resumed)):
        print(f"{name}: {difference(first, other)}")


def losses(folder: Path) -> dict[int, float]:
    """The losses so far by step."""
    path = folder / "metrics.jsonl"
    lines = metrics.read(path) if path.exists() else ()
    return {line["step"]: line["loss"] for line in lines if line["kind"] == "step"}


def difference(first: FinishedRun, other: FinishedRun) -> str:
    """How the losses and weights of ``other`` differ from ``first``."""
    weights = first.weights.items()
    if first.losses == other.losses and all(torch.equal(w, other.weights[n]) for n, w in weights):
        return f"all {len(first.losses)} losses and all weights are equal"
    differences = {step: abs(loss - other.losses[step]) for step, loss in first.losses.items()}
    first_step = next((step for step in sorted(differences) if differences[step]), "none")
    return (
        f"losses differ from step {first_step} on, by {max(differences.values()):.3f} nats at most "
        f"and {differences[max(differences)]:.3f} at the end"
    )


if __name__ == "__main__":
    main()
