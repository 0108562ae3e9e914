"""Claim: every choice in how a model is trained pays, or is off.

Trains the same model on the same corpus for the same time (or the same tokens) with one thing
changed, three seeds each, and scores it in bits per byte of validation text. Seeds are paired: the
same seed has the same weights to begin with and the same order. Cells stand one a line in
OUT/cells.jsonl and are not done again; the table at the end is made from all of them.

    codeling tokenizer recipes/demo.toml --out runs/demo
    python -m benchmarks.training.ablations runs/demo --out /tmp/choices --minutes 3
    python -m benchmarks.training.ablations runs/demo --out /tmp/choices --rows recipe z-loss

The choices that no recipe can change (AdamW in the place of Muon, the cosine) are patched in here.
"""

import argparse
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import torch

from benchmarks.runs import Bench, add_options, print_table
from codeling.model.gpt2 import GPT2
from codeling.tokenizer.tokenizer import FILE_NAME, Tokenizer
from codeling.training import schedule
from codeling.training.optimizer import optimizer
from codeling.training.warm_start import warm_start

AS_IS = "recipe"


def cosine(step: float, num_steps: int, warmup_fraction: float) -> float:
    """To a tenth of the peak, as most recipes have it."""
    warmup = max(1, round(num_steps * warmup_fraction))
    if step < warmup:
        return (step + 1) / warmup
    share = (step - warmup) / max(1, num_steps - warmup)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * share))


def gpt2_weights() -> Callable[[GPT2, int], None]:
    """GPT-2's own initialisation: residual projections normal, smaller by the root of layers."""
    ours = GPT2.initialize

    def initialize(model: GPT2, seed: int) -> None:
        ours(model, seed)
        drawn = torch.Generator().manual_seed(seed + 1)
        for name, parameter in model.named_parameters():
            if name.endswith("c_proj.weight"):
                deviation = 0.02 / math.sqrt(2 * model.config.n_layer)
                torch.nn.init.normal_(parameter, std=deviation, generator=drawn)

    return initialize


def decay_everywhere(wrapped: type[torch.optim.AdamW]) -> Callable[..., torch.optim.AdamW]:
    """AdamW that decays norms and biases too."""

    def made(groups: list[dict[str, object]], **settings: object) -> torch.optim.AdamW:
        return wrapped([{"params": each["params"]} for each in groups], **settings)  # type: ignore[arg-type]

    return made


ADAMW_ALONE = patch.object(optimizer, "is_hidden_matrix", lambda name, parameter: False)
ROWS: dict[str, tuple[list[str], object | None]] = {
    AS_IS: ([], None),
    "AdamW alone, 6e-3": ([], ADAMW_ALONE),
    "AdamW alone, 3e-3": (["training.adamw_lr=3e-3"], ADAMW_ALONE),
    "AdamW alone, 1.5e-3": (["training.adamw_lr=1.5e-3"], ADAMW_ALONE),
    "fused QKV is one matrix": ([], patch.object(optimizer, "_FUSED", " ")),
    "cosine": ([], patch.object(schedule, "learning_rate", cosine)),
    "GPT-2's initialisation": ([], patch.object(GPT2, "initialize", gpt2_weights())),
    "no warm start": (["training.warm_start_steps=0"], None),
    "no heads that copy": ([], patch.object(warm_start, "build_heads", lambda *anything: None)),
    "no weight decay": (["training.weight_decay=0"], None),
    "weight decay on all": (
        [],
        patch.object(torch.optim, "AdamW", decay_everywhere(torch.optim.AdamW)),
    ),
    "z-loss": (["training.z_loss=1e-4"], None),
    "document isolation": (["training.intra_document_masking=true"], None),
    "repositories as they come": (["training.mixture_exponent=1"], None),
    "no infilling": (["training.fim_rate=0"], None),
    "twice the batch": (["training.tokens_per_step=4096"], None),
    "half the rates": (["training.adamw_lr=3e-3", "training.muon_lr=1.5e-3"], None),
    "twice Muon's rate": (["training.muon_lr=6e-3"], None),
    "contexts of 512": (["model.context_length=512"], None),
    "products in fp32": (['training.precision="fp32"'], None),
}
"""Name → (what is set, what is patched)."""


@contextmanager
def patched(change: object | None) -> Iterator[None]:
    """With a row's patch in place."""
    with ExitStack() as stack:
        if change is not None:
            stack.enter_context(change)  # type: ignore[arg-type]
        yield


def main() -> None:
    """Do the cells that are missing, then print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser, minutes=3.0)
    parser.add_argument("--rows", nargs="*", choices=list(ROWS), default=list(ROWS))
    asked = parser.parse_args()
    bench = Bench(asked)
    tokenizer = Tokenizer.load(asked.run / "tokenizer" / FILE_NAME)
    rows = {name: ROWS[name][0] for name in asked.rows}
    for name, cell, recipe in bench.missing(rows, tokenizer):
        with patched(ROWS[name][1]):
            _, result = bench.train(cell, "run", tokenizer, recipe)
        bench.keep(cell, result)
    print_table(bench.results(), AS_IS, {})


if __name__ == "__main__":
    main()
