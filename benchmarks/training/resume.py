"""Claim: a run that was stopped ends where it would have ended; how near, on this machine.

Trains three times on the running interpreter's standard library: twice in one go, and once stopped
halfway and gone on with. On a processor all three are the same to the bit (`make proof` has twenty
such stops). On an accelerator sums have no fixed order, so the first two say how far runs are apart
that nobody stopped, and the third should be no farther.

    python -m benchmarks.training.resume --size nano --steps 20 --tokens-per-step 2048
    python -m benchmarks.training.resume     # GPT-2 124M: for an accelerator
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
class Ended:
    """A run that came to its end."""

    losses: dict[int, float]
    """By step, nats per token."""
    weights: dict[str, Tensor]


def main() -> None:
    """Train three times, compare, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="small", help="model.size")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--tokens-per-step", type=int, default=131_072)
    asked = parser.parse_args()
    text = f'[model]\nsize = "{asked.size}"\n[training]\nsteps = {asked.steps}\n'
    text += f"tokens_per_step = {asked.tokens_per_step}\ncheckpoint_minutes = 60\n"
    text += "validation_interval = 0.5\nsample_interval = 1\n"
    recipe = parse_recipe(text, []).resolved()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tokenizer, tokens = write_library(folder)
        shape = recipe.model.model_dump(exclude={"size"})
        config = GPT2Config(vocab_size=tokenizer.vocab_size, **shape)
        inputs = TrainingData(tokenizer, tokens, tokens)

        def run(name: str, should_stop: Callable[[], bool] = lambda: False) -> Ended:
            result = train(recipe.training, config, inputs, folder / name, should_stop=should_stop)
            return Ended(losses(folder / name), dict(state.load(result.checkpoint).model))

        first, again = run("first"), run("again")
        try:
            run("stopped", lambda: len(losses(folder / "stopped")) >= asked.steps // 2)
        except StoppedError as stopped:
            print(stopped)
        resumed = run("stopped")
    for name, other in (("the same again", again), ("stopped and resumed", resumed)):
        print(f"{name}: {compared(first, other)}")


def losses(folder: Path) -> dict[int, float]:
    """By step, as far as the run in ``folder`` has come."""
    path = folder / "metrics.jsonl"
    lines = metrics.read(path) if path.exists() else ()
    return {line["step"]: line["loss"] for line in lines if line["kind"] == "step"}


def compared(first: Ended, other: Ended) -> str:
    """In which way ``other`` is not ``first``."""
    weights = first.weights.items()
    if first.losses == other.losses and all(torch.equal(w, other.weights[n]) for n, w in weights):
        return f"all {len(first.losses)} losses and all weights are equal"
    apart = {step: abs(loss - other.losses[step]) for step, loss in first.losses.items()}
    begun = next((step for step in sorted(apart) if apart[step]), "none")
    return (
        f"losses differ from step {begun} on, by {max(apart.values()):.3f} nats at most and "
        f"{apart[max(apart)]:.3f} at the end"
    )


if __name__ == "__main__":
    main()
