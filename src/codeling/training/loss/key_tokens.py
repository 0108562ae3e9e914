"""Rows that hold certain words count more.

Source: the Hugging Face course, chapter 7.6 (``keytoken_weighted_loss``). Deviations: the
weights are divided by their mean over the step, so that the size of a step does not depend on
them; a word may be several tokens; it counts with and without a space before it, and once
where it stands. This module must not know about torch.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from codeling.tokenizer.tokenizer import Tokenizer


def spellings(words: Iterable[str], tokenizer: Tokenizer) -> list[tuple[int, ...]]:
    """Every word as ids, alone and after a space, each spelling once."""
    texts = [text for word in words for text in (word, " " + word)]
    return sorted({tuple(tokenizer.encode(text)) for text in texts} - {()})


def weigh(
    rows: NDArray[np.int64], spelled: Sequence[tuple[int, ...]], alpha: float
) -> NDArray[np.float32]:
    """A weight for each of ``rows`` (B, T + 1): ``alpha`` and how many words it holds, over the
    mean of that. Words are told apart by where they end.
    """
    ends = np.zeros(rows.shape, dtype=bool)
    for ids in spelled:
        length = len(ids)
        if length > rows.shape[1]:
            continue
        found = np.ones((len(rows), rows.shape[1] - length + 1), dtype=bool)
        for place, token in enumerate(ids):
            found &= rows[:, place : place + found.shape[1]] == token
        ends[:, length - 1 :] |= found
    weights = alpha + ends.sum(axis=1)
    return np.asarray(weights / weights.mean(), dtype=np.float32)
