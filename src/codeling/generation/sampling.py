"""From logits to the next id: greedy, or sampled at a temperature within the top k and top p.

Each row has its own parameters. A draw depends on (seed, sample, step) only: not on the device, not
on what else is in the batch, not on earlier draws. So a prompt gets the same ids in any batch. This
module must not know what the ids mean.

Sources: top k, Fan et al. 2018; top p (nucleus), Holtzman et al. 2020. The order, temperature then
top k then top p, is that of Hugging Face's ``generate``. A temperature that depends on what is
being written: Zhu et al. 2024 (AdapT), who raise it where a statement begins.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from codeling.errors import ModelError

_FRACTION_BITS = 53


class Draw(NamedTuple):
    """Parameters of picking the next id of one row."""

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0
    sample: int = 0
    """Index of the row among the samples of its prompt."""
    step: int = 0
    """Number of ids that were picked for it before."""


def sample(logits: NDArray[np.float32], draws: Sequence[Draw]) -> list[int]:
    """Logits (B, V) to B ids. Of equally likely ids the lowest counts as more likely.

    :raises ModelError: the highest logit of a row is NaN or infinite.
    """
    highest = logits.argmax(axis=-1)
    if not np.isfinite(logits[np.arange(len(logits)), highest]).all():
        raise ModelError("the model's logits are not finite numbers; its weights are too large")
    ids: list[int] = highest.tolist()
    for row, draw in enumerate(draws):
        if draw.temperature > 0:
            ids[row] = _sample(logits[row], draw)
    return ids


def _sample(logits: NDArray[np.float32], draw: Draw) -> int:
    """Sample one id from ``logits`` (V,)."""
    scores = logits.astype(np.float64)
    # The largest becomes 0 first, so that no temperature, however small, overflows.
    with np.errstate(over="ignore"):
        weights = np.exp((scores - scores.max()) / draw.temperature)
    ids = _most_likely(weights, draw)
    if ids is not None:
        weights = weights[ids]
        if draw.top_p is not None:
            before = np.cumsum(weights) - weights
            weights = weights[before < draw.top_p * weights.sum()]
    cumulative = np.cumsum(weights)
    threshold = uniform(draw.seed, draw.sample, draw.step) * cumulative[-1]
    # The first entry whose cumulative sum exceeds the threshold: never one of probability 0.
    picked = min(int(np.searchsorted(cumulative, threshold, side="right")), len(weights) - 1)
    return picked if ids is None else int(ids[picked])


def _most_likely(weights: NDArray[np.float64], draw: Draw) -> NDArray[np.int64] | None:
    """The ids that top k and top p choose from, most likely first; None: all, unsorted.

    Sorting a whole vocabulary would take longer than everything else here.
    """
    if draw.top_k is not None and draw.top_k < len(weights):
        smallest = np.partition(weights, -draw.top_k)[-draw.top_k]
    elif draw.top_p is not None and draw.top_p < 1:
        # All ids below this together hold less than 1 - top_p.
        smallest = (1 - draw.top_p) * weights.sum() / len(weights)
    else:
        return None
    ids = np.flatnonzero(weights >= smallest)
    ids = ids[np.argsort(-weights[ids], kind="stable")]
    return ids[: draw.top_k]


def uniform(seed: int, sample: int, step: int) -> float:
    """A number in [0, 1) that is a function of its three arguments only (BLAKE2b)."""
    digest = hashlib.blake2b(f"{seed} {sample} {step}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> (64 - _FRACTION_BITS)) / (1 << _FRACTION_BITS)
