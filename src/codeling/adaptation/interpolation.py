"""A weighted mean of the weights before and after, so that other code does not get worse.

A mean of the weights before and after fine-tuning keeps much of the gain and nearly all of the old
performance (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models"). The new weights get
the largest share with which the validation split of the model's own run costs no more bits per byte
than before. The scores are measured on other text.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from codeling.dataset.tokens import open_tokens
from codeling.errors import InputError
from codeling.evaluation.data.held_out import library_texts
from codeling.evaluation.intrinsic import bits_per_byte
from codeling.generation.scoring import TorchScorer
from codeling.model.gpt2 import GPT2
from codeling.progress import SILENT, Progress
from codeling.run_folder import RunFolder
from codeling.tokenizer.tokenizer import Tokenizer

NUM_STEPS = 16
"""Shares are multiples of one over this."""
MAX_BYTES = 120_000
_BYTES_PER_PASSAGE = 6_000


def interpolate(
    network: GPT2,
    before: Mapping[str, Tensor],
    tokenizer: Tokenizer,
    texts: Sequence[str],
    progress: Progress = SILENT,
    max_bytes: int = MAX_BYTES,
) -> float:
    """Move ``network`` towards the weights ``before``, in place; returns the share it keeps.

    ``texts`` are old text, of which at most ``max_bytes`` are read.
    """
    after = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    def mix(step: int) -> None:
        share = step / NUM_STEPS
        mixed = {name: torch.lerp(before[name], after[name], share) for name in after}
        network.load_state_dict(mixed)

    def cost(step: int) -> float:
        mix(step)
        return bits_per_byte(TorchScorer(network), tokenizer, texts, max_bytes=max_bytes).value

    low, high = 0, NUM_STEPS
    total = 1 + NUM_STEPS.bit_length()
    with progress.task("weighing old and new", total, "measurements") as advance:
        most = cost(0)
        advance(1)
        while low < high:  # the cost rises from some share on
            middle = (low + high + 1) // 2
            low, high = (middle, high) if cost(middle) <= most else (low, middle - 1)
            advance(1)
    best = max(low, 1)
    mix(best)
    return best / NUM_STEPS


def old_validation_texts(base: RunFolder | None) -> list[str]:
    """Passages of the run's validation split; the standard library without one.

    A passage lies anywhere in its document. The start of a document, its imports and its first
    docstring, loses more in fine-tuning than the rest.
    """
    return list(_validation(base) if base else ()) or library_texts(MAX_BYTES)


def _validation(base: RunFolder) -> Iterator[str]:
    try:
        own = Tokenizer.load(base.tokenizer)
        tokens = open_tokens(base.path / "tokens" / "validation.bin")
    except InputError:
        return
    wanted = MAX_BYTES // _BYTES_PER_PASSAGE
    rng = np.random.default_rng(0)
    for number in range(0, tokens.num_documents, max(1, tokens.num_documents // wanted)):
        content = own.decode(tokens.document(number).tolist()).encode()
        start = int(rng.random() * max(0, len(content) - _BYTES_PER_PASSAGE))
        start = content.find(b"\n", start) + 1 if start else 0
        yield content[start : start + _BYTES_PER_PASSAGE].decode(errors="ignore")
