"""GPT-2 124M trains with at least 350,000 tokens per second on one H200, all overhead included.

Runs the loop of ``codeling train`` on the standard library of the running interpreter: packing with
infilling, forward, backward, clipping, Muon and AdamW, logging, and a validation. The rate is by
wall clock, from the end of the sixth step to the end of the last one, so it excludes compilation
and the last checkpoint. The benchmark also prints the share of the measured rate of a matrix
product, the upper bound, and the peak memory. ``--size nano`` runs on a processor too.

    python -m benchmarks.training.accelerator --steps 40
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import torch

from benchmarks.library import write_library
from codeling.model.config import GPT2Config
from codeling.recipe import parse_recipe
from codeling.training import metrics
from codeling.training.data import TrainingData
from codeling.training.machine import choose_device, multiplies_bf16
from codeling.training.trainer import train

NUM_WARM_UP = 6
"""Steps that are not measured."""
GPT2_VOCABULARY = 50_304
"""GPT-2's 50,257 entries, padded to a multiple of 128."""


def main() -> None:
    """Train and print the rates."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="small", help="model.size (default: %(default)s)")
    parser.add_argument(
        "--vocabulary", type=int, default=GPT2_VOCABULARY, help="entries of the model"
    )
    parser.add_argument("--steps", type=int, default=40, help="training steps")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a recipe key"
    )
    options = parser.parse_args()
    text = f'[model]\nsize = "{options.size}"\n[training]\nsteps = {options.steps}\n'
    text += "checkpoint_minutes = 60\nvalidation_interval = 0.5\nsample_interval = 1\n"
    recipe = parse_recipe(text, options.set).resolved()
    shape = recipe.model.model_dump(exclude={"size"})
    config = GPT2Config(vocab_size=options.vocabulary, **shape)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tokenizer, tokens = write_library(folder)
        train(recipe.training, config, TrainingData(tokenizer, tokens, tokens), folder)
        lines = list(metrics.read(folder / "metrics.jsonl"))
    steps = [line for line in lines if line["kind"] == "step"]
    first, last = steps[NUM_WARM_UP - 1], steps[-1]
    rate = (last["tokens"] - first["tokens"]) / (last["seconds"] - first["seconds"])
    step_rate = statistics.median(line["tokens_per_second"] for line in steps[NUM_WARM_UP:])
    peak = last["tokens_per_second"] * config.train_flops_per_token / last["mfu"]
    device = choose_device(recipe.training.device)
    precision = "bf16" if multiplies_bf16(device) else "fp32"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "processor"
    print(
        f"{name}, torch {torch.__version__}: {precision} matrix product {peak / 1e12:,.1f} TFLOP/s"
    )
    print(
        f"{config.num_parameters / 1e6:,.1f} M parameters, context {config.context_length}, "
        f"{first['tokens'] // NUM_WARM_UP:,} tokens per step"
    )
    for label, found in (("by wall clock", rate), ("median of the steps", step_rate)):
        share = found * config.train_flops_per_token / peak
        print(f"{label}: {found:,.0f} tokens/s, {share:.1%} of the matrix product")
    if device.type == "cuda":
        print(f"peak memory: {torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB")


if __name__ == "__main__":
    main()
