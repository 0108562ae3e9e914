"""What a run says of itself: lines of JSON, one a step, and the validation measure.

``metrics.jsonl`` has lines of kind ``step`` and ``validation``; ``docs/formats.md`` lists their
keys. A line is written whole or, by a killed process, torn at the very end, where
:func:`keep_until` cuts it off.
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from codeling import jsonl
from codeling.dataset.loader import Loader
from codeling.manifest import write_bytes
from codeling.model.gpt2 import GPT2
from codeling.tokenizer.tokenizer import Tokenizer
from codeling.training.loss.objective import layout


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of ``path`` that belong to a step; a missing file is empty."""
    return (values for values in jsonl.read(path) if "step" in values)


def keep_until(path: Path, step: int) -> None:
    """Drop every line after ``step``, and a torn one: what is done again is said again."""
    kept = [values for values in read(path) if values["step"] <= step]
    text = "".join(json.dumps(values, ensure_ascii=False) + "\n" for values in kept)
    write_bytes(path, text.encode())


@dataclass(frozen=True)
class Validation:
    """The measure on held-out documents."""

    loss: float
    """Nats per token."""
    bits_per_byte: float
    """Bits per UTF-8 byte of text, whatever the tokenizer."""


def validate(
    model: GPT2,
    loader: Loader,
    tokenizer: Tokenizer,
    num_tokens: int,
    rows_at_once: int,
    *,
    intra_document_masking: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
) -> Validation | None:
    """Measure ``model`` on the first ``num_tokens`` of ``loader``, always the same ones.

    ``<|endoftext|>`` counts as a token of the loss; it has no bytes, and its nats are left out
    of the bits per byte. None where ``should_stop`` says so on the way.
    """
    boundary = tokenizer.end_of_text if intra_document_masking else None
    bytes_of = torch.from_numpy(np.array([len(b) for b in tokenizer.token_bytes], dtype=np.int64))
    device = model.wte.weight.device
    nats = text_nats = 0.0
    tokens = num_bytes = 0
    rows = loader.sequences(loader.start())
    while tokens < num_tokens:
        if should_stop():
            return None
        ids = torch.from_numpy(np.stack([row for row, _ in islice(rows, rows_at_once)]))
        inputs, targets = ids[:, :-1].to(device), ids[:, 1:].to(device)
        place = layout(inputs, boundary)
        of_tokens = model.token_nats(inputs, targets, *place).cpu().double()
        lengths = bytes_of[ids[:, 1:]]
        nats += float(of_tokens.sum())
        text_nats += float(of_tokens[lengths > 0].sum())
        num_bytes += int(lengths.sum())
        tokens += of_tokens.numel()
    return Validation(nats / tokens, text_nats / math.log(2) / max(1, num_bytes))
