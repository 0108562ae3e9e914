"""Claim: GPT-2 124M trains at 350,000 tokens a second and more on one H200, all of a run counted.

``codeling train``'s own loop on the running interpreter's standard library: rows packed with
infilling, forward, backward, clipping, Muon and AdamW, lines logged and a validation. By
the wall clock, from the end of the sixth step to the end of the last one: what is before compiles,
and the last state is saved after. Beside it the share of the rate of a bf16 matrix product, which
is the floor of the time, and the most memory that was in use. Runs on a processor too, with
``--size nano``.

    python -m benchmarks.training.accelerator
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

STARTING = 6
"""Steps that are not counted."""
GPT2_VOCABULARY = 50_304
"""GPT-2's 50,257 entries and as many unused ones as make it a multiple of 128."""


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="small", help="model.size")
    parser.add_argument("--vocabulary", type=int, default=GPT2_VOCABULARY, help="of the model")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--set", action="append", default=[], help="as codeling run takes it")
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
    first, last = steps[STARTING - 1], steps[-1]
    rate = (last["tokens"] - first["tokens"]) / (last["seconds"] - first["seconds"])
    alone = statistics.median(line["tokens_per_second"] for line in steps[STARTING:])
    peak = last["tokens_per_second"] * config.train_flops_per_token / last["mfu"]
    device = choose_device(recipe.training.device)
    kind = "bf16" if multiplies_bf16(device) else "fp32"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "processor"
    print(f"{name}, torch {torch.__version__}: {kind} matrix product {peak / 1e12:,.1f} TFLOP/s")
    print(
        f"{config.num_parameters / 1e6:,.1f} M parameters, context {config.context_length}, "
        f"{first['tokens'] // STARTING:,} tokens a step"
    )
    for words, found in (("by the wall clock", rate), ("median of the steps", alone)):
        share = found * config.train_flops_per_token / peak
        print(f"{words}: {found:,.0f} tokens/s, {share:.1%} of the matrix rate")
    if device.type == "cuda":
        print(f"memory: {torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB at most")


if __name__ == "__main__":
    main()
