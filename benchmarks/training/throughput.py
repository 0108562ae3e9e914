"""A training step is several times as fast as one of the Hugging Face Trainer.

Trains one network on the same tokens: our step (packing, forward, backward, clipping, Muon and
AdamW) against ``transformers.Trainer`` with its defaults (fp32, AdamW) and with ``bf16``. On a
processor the network has 6 layers of width 384, 6 heads, and 16,384 entries, with 8 sequences of
512 tokens per step; on an accelerator it is GPT-2 124M, with 32 sequences of 1,024. The three
alternate; each round times some steps after a warm-up. Prints the median rates, the medians of the
pairwise ratios, and the share of the measured rate of a matrix product, the upper bound. Where bf16
is emulated, everything runs in fp32 and there are two sides. Needs the extra [bench].

    python -m benchmarks.training.throughput --rounds 5 --steps 4
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
"""The network, and the sequences of a step."""
ACCELERATOR = GPT2Config(50_304, 1024, 12, 12, 768), 32
WARM_UP = 2

Rows = np.ndarray[Any, Any]
"""Batches of sequences (N, B, T + 1)."""


def ours(config: GPT2Config, rows: Rows, machine: Machine) -> Callable[[int], float]:
    """A function that runs the given number of our steps and returns their seconds."""
    _, count, length = rows.shape
    tokenizer = train_tokenizer([Path(__file__).read_text()], TokenizerRecipe(vocab_size=300))
    recipe = TrainingRecipe(adamw_lr=1e-3, muon_lr=1e-3, tokens_per_step=count * (length - 1))
    module = TrainModule(recipe, config, tokenizer, machine)

    def run_steps(steps: int) -> float:
        start = 0.0
        for number in range(WARM_UP + steps):
            if number == WARM_UP:
                start = now(machine.device)
            module.train_batch(rows[number % len(rows)], count, 1.0)
        return now(machine.device) - start

    return run_steps


def theirs(
    config: GPT2Config, rows: Rows, machine: Machine, folder: Path, **options: bool
) -> Callable[[int], float]:
    """The same for the Trainer of transformers with ``options``."""
    import transformers

    count = rows.shape[1]
    device = machine.device

    class Sequences(torch.utils.data.Dataset[dict[str, Any]]):
        def __len__(self) -> int:
            return 10**6

        def __getitem__(self, number: int) -> dict[str, Any]:
            ids = torch.from_numpy(rows[number // count % len(rows)][number % count][:-1])
            return {"input_ids": ids, "labels": ids}

    class Clock(transformers.TrainerCallback):  # type: ignore[misc]
        start = end = 0.0

        def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            if state.global_step == WARM_UP:
                self.start = now(device)
            if state.global_step == state.max_steps:
                self.end = now(device)

    shape = config.to_hugging_face() | {"bos_token_id": 0, "eos_token_id": 0}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**shape))

    def run_steps(steps: int) -> float:
        clock = Clock()
        arguments = transformers.TrainingArguments(
            output_dir=str(folder), per_device_train_batch_size=count, max_steps=WARM_UP + steps,
            report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True,
            use_cpu=device.type == "cpu", **options,
        )  # fmt: skip
        trainer = transformers.Trainer(
            model, arguments, train_dataset=Sequences(), callbacks=[clock]
        )
        precision = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")  # PyTorch's default
        trainer.train()
        torch.set_float32_matmul_precision(precision)
        return clock.end - clock.start

    return run_steps


def now(device: torch.device) -> float:
    """The clock after all work of the device is done."""
    wait_for(device)
    return time.perf_counter()


def main() -> None:
    """Measure all sides and print the rates."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each")
    parser.add_argument("--steps", type=int, default=4, help="timed steps of a measurement")
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
            for name, run_steps in sides.items():
                rates[name].append(options.steps * tokens / run_steps(options.steps))
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
        print(f"{name}: {rate:,.0f} tokens/s, {share:.0%} of the matrix product")
    for name in list(sides)[1:]:
        pairs = zip(rates["codeling"], rates[name], strict=True)
        print(f"codeling / {name}: {statistics.median(a / b for a, b in pairs):.2f}")


if __name__ == "__main__":
    main()
