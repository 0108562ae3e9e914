"""Loss weights of sequences: those that contain certain words get a larger one.

Source: the Hugging Face course, chapter 7.6 (``keytoken_weighted_loss``). Deviations: the weights
are divided by their mean over the step, so the size of an update does not depend on them; a word
may be several tokens; it counts with and without a space before it, and once per place. This
module must not know about torch.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from codeling.tokenizer.tokenizer import Tokenizer


def spellings(words: Iterable[str], tokenizer: Tokenizer) -> list[tuple[int, ...]]:
    """Token ids of every word, with and without a space before it, each spelling once."""
    texts = [text for word in words for text in (word, " " + word)]
    return sorted({tuple(tokenizer.encode(text)) for text in texts} - {()})


def weigh(
    sequences: NDArray[np.int64], spelled: Sequence[tuple[int, ...]], alpha: float
) -> NDArray[np.float32]:
    """Weights (B,) of ``sequences`` (B, T + 1): ``alpha`` plus the number of words, with mean 1.

    Words with the same last token count once.
    """
    ends = np.zeros(sequences.shape, dtype=bool)
    for ids in spelled:
        length = len(ids)
        if length > sequences.shape[1]:
            continue
        found = np.ones((len(sequences), sequences.shape[1] - length + 1), dtype=bool)
        for offset, token in enumerate(ids):
            found &= sequences[:, offset : offset + found.shape[1]] == token
        ends[:, length - 1 :] |= found
    weights = alpha + ends.sum(axis=1)
    return np.asarray(weights / weights.mean(), dtype=np.float32)
