"""Log-probabilities of single tokens, and the most likely tokens beside them.

They are those of the distribution before temperature, top k, top p and constraints: the model's
own, or its mixture with a memory. This module must not know torch or what the ids mean.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class TokenLogprobs(NamedTuple):
    """The log-probability of one token in its place, in nats."""

    id: int
    logprob: float
    top: tuple[tuple[int, float], ...]
    """The most likely ids with their log-probabilities, most likely first."""


def most_likely(logits: NDArray[np.float32], picked: int, num_top: int) -> TokenLogprobs:
    """The log-probability of ``picked`` and the ``num_top`` most likely ids, from logits (V,).

    Of equally likely ids the lowest counts as more likely.
    """
    scores = logits.astype(np.float64)
    scores -= scores.max()
    scores -= np.log(np.exp(scores).sum())
    top: list[int] = []
    if num_top > 0:
        possible = scores[scores > -np.inf]  # partitioning equal numbers is slow
        smallest = (
            np.partition(possible, -num_top)[-num_top] if num_top < len(possible) else -np.inf
        )
        ids = np.flatnonzero(scores >= smallest)
        top = ids[np.argsort(-scores[ids], kind="stable")][:num_top].tolist()
    return TokenLogprobs(
        picked, float(scores[picked]), tuple((each, float(scores[each])) for each in top)
    )
