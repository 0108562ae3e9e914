"""From logits to the next token id: greedy, or sampled with temperature, top k and top p.

A draw depends on (seed, sample, step) alone: not on the device, the rest of the batch or earlier
draws. So a prompt completed in a batch gets the ids that it gets alone. This module must not know
what the ids mean.

Sources: top k, Fan et al. 2018; top p (nucleus), Holtzman et al. 2020. The order (temperature,
top k, top p) is that of Hugging Face's ``generate``. A temperature that depends on what is being
written: Zhu et al. 2024 (AdapT), who raise it where a statement begins.
"""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from codeling.generation.request import SamplingParams

_FRACTION_BITS = 53
"""Bits of a float64's fraction."""


def sample(
    logits: Tensor,
    params: SamplingParams,
    samples: Sequence[int],
    steps: Sequence[int],
    in_prose: Sequence[bool] | None = None,
) -> Tensor:
    """Logits (B, V) → ids (B,), int64, on the device of ``logits``.

    For sequence b, ``samples[b]`` is its number among the samples of its prompt, ``steps[b]`` the
    number of ids drawn for it before, and ``in_prose[b]`` says that ``prose_temperature`` applies.
    Ties are ordered by id: the lowest counts as the most likely.
    """
    prose = params.prose_temperature
    if prose is None:
        prose = params.temperature
    temperatures = [prose if each else params.temperature for each in in_prose or [False]]
    greedy = logits.argmax(dim=-1)
    if not any(temperatures):
        return greedy
    divisors = torch.tensor(temperatures, dtype=torch.float64, device=logits.device)[:, None]
    scores = logits.double()
    # Subtract the maximum first, so that a very small temperature cannot overflow.
    scores = (scores - scores.amax(dim=-1, keepdim=True)) / divisors.where(divisors > 0, 1.0)
    ids: Tensor | None = None
    if params.top_k is not None or (params.top_p is not None and params.top_p < 1):
        scores, ids = scores.sort(dim=-1, descending=True, stable=True)
        scores = scores[:, : params.top_k]
    probabilities = torch.softmax(scores, dim=-1)
    if params.top_p is not None and params.top_p < 1:
        before = probabilities.cumsum(dim=-1) - probabilities
        probabilities = probabilities.masked_fill(before >= params.top_p, 0.0)
    draws = torch.tensor(
        [uniform(params.seed, s, t) for s, t in zip(samples, steps, strict=True)],
        dtype=torch.float64,
        device=logits.device,
    )
    cumulative = probabilities.cumsum(dim=-1)
    thresholds = draws[:, None] * cumulative[:, -1:]
    # The first entry whose cumulative sum exceeds the threshold never has probability 0.
    columns = torch.searchsorted(cumulative, thresholds, right=True)
    columns = columns.clamp_(max=probabilities.size(-1) - 1)
    sampled = (columns if ids is None else ids.gather(1, columns)).squeeze(1)
    return sampled.where(divisors.squeeze(1) > 0, greedy)


def uniform(seed: int, sample: int, step: int) -> float:
    """A number in [0, 1), a pure function of its three arguments (BLAKE2b)."""
    digest = hashlib.blake2b(f"{seed} {sample} {step}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> (64 - _FRACTION_BITS)) / (1 << _FRACTION_BITS)
