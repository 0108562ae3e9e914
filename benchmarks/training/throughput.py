"""Claim: a training step here is several times as fast as the Hugging Face Trainer's.

One network, the same tokens, on this machine: our own step (rows packed, forward, backward,
clipping, Muon and AdamW) against ``transformers.Trainer`` at its default (fp32, AdamW) and with
``bf16``. On a processor 6 layers of width 384, 6 heads, vocabulary 16,384, and 8 rows of 512 a
step; on an accelerator GPT-2 124M and 32 rows of 1,024. The three take turns in one run; a turn is
some steps after some that are not timed. Prints the median rate of each, the medians of the
pairwise ratios, and which share of the rate of a bf16 matrix product, measured between the turns,
our step has: that rate is the floor of the time. Where bf16 is emulated, all of it is in fp32 and
there are two sides.

Needs transformers and accelerate.  Run:  python -m benchmarks.training.throughput
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from codeling.model.config import GPT2Config
from codeling.recipe import TokenizerRecipe, TrainingRecipe
from codeling.tokenizer.train import train as train_tokenizer
from codeling.training.machine import Machine, matrix_rate, multiplies_bf16, set_up, wait_for
from codeling.training.train_module import TrainModule

PROCESSOR = GPT2Config(16_384, 512, 6, 6, 384), 8
"""The network, and the rows of a step."""
ACCELERATOR = GPT2Config(50_304, 1024, 12, 12, 768), 32
WARM_UP = 2

Rows = np.ndarray[Any, Any]
"""Batches of rows of ids (B, R, T + 1)."""


def ours(config: GPT2Config, rows: Rows, machine: Machine) -> Callable[[int], float]:
    """Steps of ours: a function from how many to their seconds."""
    _, count, length = rows.shape
    tokenizer = train_tokenizer([Path(__file__).read_text()], TokenizerRecipe(vocab_size=300))
    recipe = TrainingRecipe(adamw_lr=1e-3, muon_lr=1e-3, tokens_per_step=count * (length - 1))
    module = TrainModule(recipe, config, tokenizer, machine)

    def take(steps: int) -> float:
        begun = 0.0
        for number in range(WARM_UP + steps):
            if number == WARM_UP:
                begun = now(machine.device)
            module.train_batch(rows[number % len(rows)], count, 1.0)
        return now(machine.device) - begun

    return take


def theirs(
    config: GPT2Config, rows: Rows, machine: Machine, folder: Path, **options: bool
) -> Callable[[int], float]:
    """Steps of the Trainer of transformers, as its defaults and ``options`` make them."""
    import transformers

    count = rows.shape[1]
    device = machine.device

    class Singly(torch.utils.data.Dataset[dict[str, Any]]):
        def __len__(self) -> int:
            return 10**6

        def __getitem__(self, number: int) -> dict[str, Any]:
            ids = torch.from_numpy(rows[number // count % len(rows)][number % count][:-1])
            return {"input_ids": ids, "labels": ids}

    class Clock(transformers.TrainerCallback):  # type: ignore[misc]
        begun = ended = 0.0

        def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            if state.global_step == WARM_UP:
                self.begun = now(device)
            if state.global_step == state.max_steps:
                self.ended = now(device)

    shape = config.to_hugging_face() | {"bos_token_id": 0, "eos_token_id": 0}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**shape))

    def take(steps: int) -> float:
        clock = Clock()
        arguments = transformers.TrainingArguments(
            output_dir=str(folder), per_device_train_batch_size=count, max_steps=WARM_UP + steps,
            report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True,
            use_cpu=device.type == "cpu", **options,
        )  # fmt: skip
        trainer = transformers.Trainer(model, arguments, train_dataset=Singly(), callbacks=[clock])
        precision = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")  # as PyTorch and so the Trainer leave it
        trainer.train()
        torch.set_float32_matmul_precision(precision)
        return clock.ended - clock.begun

    return take


def now(device: torch.device) -> float:
    """Seconds, once what was asked of the device is done."""
    wait_for(device)
    return time.perf_counter()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side")
    parser.add_argument("--steps", type=int, default=4, help="timed steps of a turn")
    options = parser.parse_args()
    try:
        import accelerate  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        sys.exit(f"{error}; pip install 'codeling[bench]'")
    machine = set_up()
    native = multiplies_bf16(machine.device)
    config, count = PROCESSOR if machine.device.type == "cpu" else ACCELERATOR
    tokens = count * config.context_length
    shape = (16, count, config.context_length + 1)
    rows = np.random.default_rng(0).integers(0, config.vocab_size, size=shape)
    with tempfile.TemporaryDirectory() as folder:
        sides = {
            "codeling": ours(config, rows, machine),
            "Trainer, fp32": theirs(config, rows, machine, Path(folder)),
        }
        if native:
            sides["Trainer, bf16"] = theirs(config, rows, machine, Path(folder), bf16=True)
        rates: dict[str, list[float]] = {name: [] for name in sides}
        peaks = []
        for number in range(options.rounds):
            peaks.append(matrix_rate(machine))
            for name, take in sides.items():
                rates[name].append(options.steps * tokens / take(options.steps))
            print(
                f"round {number + 1}: " + ", ".join(f"{n} {r[-1]:,.0f}" for n, r in rates.items())
            )
    peak = statistics.median(peaks)
    kind = "bf16" if native else "fp32"
    print(f"{kind} matrix product: {peak / 1e9:,.0f} GFLOP/s, {machine.threads} threads")
    if machine.device.type == "cuda":
        print(f"{torch.cuda.get_device_name(machine.device)}, torch {torch.__version__}")
    for name, found in rates.items():
        rate = statistics.median(found)
        share = rate * config.train_flops_per_token / peak
        print(f"{name}: {rate:,.0f} tokens/s, {share:.0%} of the matrix rate")
    for name in list(sides)[1:]:
        pairs = zip(rates["codeling"], rates[name], strict=True)
        print(f"codeling against {name}: {statistics.median(a / b for a, b in pairs):.2f} times")


if __name__ == "__main__":
    main()
