"""Every choice in how a model is trained lowers bits per byte, or is off by default.

Trains the same model on the same corpus for the same time (or the same number of tokens), each
variant with one change, and scores it in bits per byte of validation text. Runs of one seed share
the initial weights and the order of the data. Results are appended to OUT/runs.jsonl; runs that
have one are skipped. The table at the end shows all of them.

    codeling tokenizer recipes/demo.toml --out runs/demo
    python -m benchmarks.training.ablations runs/demo --out /tmp/ablations --minutes 3
    python -m benchmarks.training.ablations runs/demo --out /tmp/ablations --variants recipe z-loss

Variants that no recipe key provides (AdamW alone, a cosine schedule) are patched in.
"""

import argparse
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.runs import Comparison, add_options, print_table
from codeling.model.gpt2 import GPT2
from codeling.tokenizer.tokenizer import FILE_NAME, Tokenizer
from codeling.training import schedule
from codeling.training.optimizer import optimizer
from codeling.training.optimizer.adamw import AdamW
from codeling.training.warm_start import warm_start

BASELINE = "recipe"


def cosine(step: float, num_steps: int, warmup_fraction: float) -> float:
    """Share of the peak rate: warm-up, then a cosine to a tenth."""
    warmup = max(1, round(num_steps * warmup_fraction))
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, num_steps - warmup)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * progress))


def gpt2_initialisation() -> Callable[[GPT2, int], None]:
    """GPT-2's initialisation: residual projections normal, scaled down by the root of the depth."""
    ours = GPT2.initialize

    def initialize(model: GPT2, seed: int) -> None:
        ours(model, seed)
        generator = torch.Generator().manual_seed(seed + 1)
        for name, parameter in model.named_parameters():
            if name.endswith("c_proj.weight"):
                deviation = 0.02 / math.sqrt(2 * model.config.n_layer)
                torch.nn.init.normal_(parameter, std=deviation, generator=generator)

    return initialize


def decay_everywhere(groups: list[dict[str, object]], **settings: Any) -> AdamW:
    """AdamW with weight decay also on norms and biases."""
    return AdamW([{"params": each["params"]} for each in groups], **settings)


ADAMW_ALONE = patch.object(optimizer, "is_hidden_matrix", lambda name, parameter: False)
VARIANTS: dict[str, tuple[list[str], object | None]] = {
    BASELINE: ([], None),
    "AdamW alone, 6e-3": ([], ADAMW_ALONE),
    "AdamW alone, 3e-3": (["training.adamw_lr=3e-3"], ADAMW_ALONE),
    "AdamW alone, 1.5e-3": (["training.adamw_lr=1.5e-3"], ADAMW_ALONE),
    "fused QKV is one matrix": ([], patch.object(optimizer, "_FUSED", " ")),
    "cosine": ([], patch.object(schedule, "learning_rate", cosine)),
    "GPT-2's initialisation": ([], patch.object(GPT2, "initialize", gpt2_initialisation())),
    "no warm start": (["training.warm_start_steps=0"], None),
    "no induction heads": ([], patch.object(warm_start, "init_induction_heads", lambda *_: None)),
    "no weight decay": (["training.weight_decay=0"], None),
    "weight decay on all": ([], patch.object(optimizer, "AdamW", decay_everywhere)),
    "z-loss": (["training.z_loss=1e-4"], None),
    "intra-document masking": (["training.intra_document_masking=true"], None),
    "repositories weighted by size": (["training.mixture_exponent=1"], None),
    "no infilling": (["training.fim_rate=0"], None),
    "twice the batch": (["training.tokens_per_step=4096"], None),
    "half the learning rates": (["training.adamw_lr=3e-3", "training.muon_lr=1.5e-3"], None),
    "twice Muon's rate": (["training.muon_lr=6e-3"], None),
    "context length 512": (["model.context_length=512"], None),
    "fp32": (['training.precision="fp32"'], None),
}
"""Name → (changes of the recipe, patch of the code)."""


@contextmanager
def patched(change: object | None) -> Iterator[None]:
    """Apply the patch of a variant, if it has one."""
    with ExitStack() as stack:
        if change is not None:
            stack.enter_context(change)  # type: ignore[arg-type]
        yield


def main() -> None:
    """Train the runs that are missing, then print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser, minutes=3.0)
    parser.add_argument(
        "--variants", nargs="*", choices=list(VARIANTS), default=list(VARIANTS), metavar="NAME",
        help=f"default: all of {', '.join(VARIANTS)}",
    )  # fmt: skip
    options = parser.parse_args()
    comparison = Comparison(options)
    tokenizer = Tokenizer.load(options.folder / "tokenizer" / FILE_NAME)
    changes = {name: VARIANTS[name][0] for name in options.variants}
    for name, run, recipe in comparison.missing(changes, tokenizer):
        with patched(VARIANTS[name][1]):
            _, result = comparison.train(run, "run", tokenizer, recipe)
        comparison.save(run, result)
    print_table(comparison.results(), BASELINE, {})


if __name__ == "__main__":
    main()
