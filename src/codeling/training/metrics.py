"""The logs of a run (JSON Lines), and validation.

``metrics.jsonl`` has lines of kind ``data``, ``step`` and ``validation``; ``docs/formats.md`` lists
their keys. A killed process may leave an incomplete last line, which :func:`keep_until` removes.
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
    """Yield the lines of ``path`` that belong to a step; nothing if the file is missing."""
    return (values for values in jsonl.read(path) if "step" in values)


def keep_until(path: Path, step: int) -> None:
    """Remove the lines after ``step``, which will be logged again, and an incomplete line."""
    kept = [values for values in read(path) if values["step"] <= step]
    text = "".join(json.dumps(values, ensure_ascii=False) + "\n" for values in kept)
    write_bytes(path, text.encode())


@dataclass(frozen=True)
class Validation:
    """Results on held-out documents."""

    loss: float
    """Nats per token."""
    bits_per_byte: float
    """Bits per UTF-8 byte of text, comparable between tokenizers."""


def validate(
    model: GPT2,
    loader: Loader,
    tokenizer: Tokenizer,
    num_tokens: int,
    batch_size: int,
    *,
    intra_document_masking: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
) -> Validation | None:
    """Evaluate ``model`` on the first ``num_tokens`` of ``loader``, the same in every call.

    ``<|endoftext|>`` counts in the loss. It has no bytes, so the bits per byte exclude its nats.
    Return None if ``should_stop`` returns True before a batch.
    """
    boundary = tokenizer.end_of_text if intra_document_masking else None
    token_bytes = torch.from_numpy(
        np.array([len(b) for b in tokenizer.token_bytes], dtype=np.int64)
    )
    device = model.wte.weight.device
    nats = text_nats = 0.0
    tokens = num_bytes = 0
    sequences = loader.sequences(loader.start())
    while tokens < num_tokens:
        if should_stop():
            return None
        batch = [sequence for sequence, _ in islice(sequences, batch_size)]
        ids = torch.from_numpy(np.stack(batch))
        inputs, targets = ids[:, :-1].to(device), ids[:, 1:].to(device)
        positions = layout(inputs, boundary)
        token_nats = model.token_nats(inputs, targets, *positions).cpu().double()
        lengths = token_bytes[ids[:, 1:]]
        nats += float(token_nats.sum())
        text_nats += float(token_nats[lengths > 0].sum())
        num_bytes += int(lengths.sum())
        tokens += token_nats.numel()
    return Validation(nats / tokens, text_nats / math.log(2) / max(1, num_bytes))
