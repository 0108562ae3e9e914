"""``last_step.json``: the first rows of the last step as text, for a person who watches a run.

The rows are what the model was trained on: packed, cut for infilling, with special tokens. This
module must not know what a step does.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codeling.manifest import write_json
from codeling.tokenizer.tokenizer import Tokenizer
from codeling.training import clock

FILE_NAME = "last_step.json"
MAX_ROWS = 4
INTERVAL_SECONDS = 10.0
"""Between two writes: a person cannot read faster."""


class LastRows:
    """Writes the rows to a run folder now and then."""

    def __init__(self, folder: Path, tokenizer: Tokenizer) -> None:
        self._path = folder / FILE_NAME
        self._tokenizer = tokenizer
        self._written: float | None = None

    def record(self, step: int, sequences: NDArray[np.int64]) -> None:
        """Write the rows of ``sequences`` (B, T + 1), unless they were written just before.

        :raises StorageError: the file cannot be written.
        """
        now = clock.now()
        if self._written is not None and now - self._written < INTERVAL_SECONDS:
            return
        self._written = now
        rows = [pieces(row.tolist(), self._tokenizer) for row in sequences[:MAX_ROWS]]
        write_json(self._path, {"step": step, "rows": rows})


def pieces(ids: list[int], tokenizer: Tokenizer) -> list[dict[str, Any]]:
    """Runs of text, ``{"text": …}``, and special tokens, ``{"special": name}``, in order.

    Bytes that are not UTF-8, at the cut ends of a row, become U+FFFD.
    """
    found: list[dict[str, Any]] = []
    run: list[int] = []
    for token in [*ids, -1]:
        if token >= 0 and tokenizer.token_bytes[token]:
            run.append(token)
            continue
        if run:
            found.append({"text": tokenizer.decode(run)})
            run = []
        if token >= 0:
            found.append({"special": tokenizer.name_of(token)})
    return found
