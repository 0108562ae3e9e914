"""From logits to the next id: greedy, or drawn at a temperature within the top k and top p.

A draw depends on (seed, sample, step) alone, never on the device, on what else is in the
batch, or on what was drawn before, so a prompt completed in a batch gets the ids that it gets
alone. This module must not know what the ids mean.

Sources: top k, Fan et al. 2018; top p (nucleus), Holtzman et al. 2020. The order, temperature
then top k then top p, is that of Hugging Face's ``generate``. That a temperature may depend on
what is being written: Zhu et al. 2024 (AdapT), who raise it where a statement begins.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from codeling.errors import UsageError

_FRACTION_BITS = 53


@dataclass(frozen=True)
class Sampling:
    """How the next id is picked."""

    temperature: float = 0.0
    """0 is greedy: always the most likely id. 1 is the model's own distribution."""
    top_k: int | None = None
    """Draw from the ``top_k`` most likely ids alone."""
    top_p: float | None = None
    """Draw from the fewest ids, most likely first, that together hold ``top_p`` of what
    ``top_k`` has left."""
    prose_temperature: float | None = None
    """Within comments and triple-quoted strings; None: :attr:`temperature` there too. A low
    temperature suits code, but makes the rare token that ends a docstring rarer still."""
    seed: int = 0
    """Another seed, another sample."""

    def __post_init__(self) -> None:
        """Check every value. :raises UsageError: one is out of range."""
        for name in ("temperature", "prose_temperature"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise UsageError(f"{name} must be 0 or more, not {value}")
        if self.top_k is not None and self.top_k < 1:
            raise UsageError(f"top_k must be 1 or more, not {self.top_k}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UsageError(f"top_p must be above 0 and at most 1, not {self.top_p}")
        if self.seed < 0:
            raise UsageError(f"seed must be 0 or more, not {self.seed}")


def sample(
    logits: Tensor,
    sampling: Sampling,
    samples: Sequence[int],
    steps: Sequence[int],
    in_prose: Sequence[bool] | None = None,
) -> Tensor:
    """Logits (B, V) → ids (B,), int64, on the device of ``logits``.

    ``samples[b]`` is the number of row b among the samples of its own prompt, ``steps[b]`` how
    many ids were drawn for it before, ``in_prose[b]`` whether its next id is drawn at
    ``prose_temperature``. Of equally likely ids the lowest counts as more likely.
    """
    prose = sampling.prose_temperature
    if prose is None:
        prose = sampling.temperature
    temperatures = [prose if each else sampling.temperature for each in in_prose or [False]]
    likeliest = logits.argmax(dim=-1)
    if not any(temperatures):
        return likeliest
    divisors = torch.tensor(temperatures, dtype=torch.float64, device=logits.device)[:, None]
    scores = logits.double()
    # The largest is made 0 first, so that no temperature, however small, overflows.
    scores = (scores - scores.amax(dim=-1, keepdim=True)) / divisors.where(divisors > 0, 1.0)
    ids: Tensor | None = None
    if sampling.top_k is not None or (sampling.top_p is not None and sampling.top_p < 1):
        scores, ids = scores.sort(dim=-1, descending=True, stable=True)
        scores = scores[:, : sampling.top_k]
    probabilities = torch.softmax(scores, dim=-1)
    if sampling.top_p is not None and sampling.top_p < 1:
        before = probabilities.cumsum(dim=-1) - probabilities
        probabilities = probabilities.masked_fill(before >= sampling.top_p, 0.0)
    draws = torch.tensor(
        [uniform(sampling.seed, s, t) for s, t in zip(samples, steps, strict=True)],
        dtype=torch.float64,
        device=logits.device,
    )
    cumulative = probabilities.cumsum(dim=-1)
    thresholds = draws[:, None] * cumulative[:, -1:]
    # The first entry whose cumulative sum exceeds the threshold: never one of probability 0.
    picked = torch.searchsorted(cumulative, thresholds, right=True)
    picked = picked.clamp_(max=probabilities.size(-1) - 1)
    drawn = (picked if ids is None else ids.gather(1, picked)).squeeze(1)
    return drawn.where(divisors.squeeze(1) > 0, likeliest)


def uniform(seed: int, sample: int, step: int) -> float:
    """A number in [0, 1) that is a function of its three arguments alone (BLAKE2b)."""
    digest = hashlib.blake2b(f"{seed} {sample} {step}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> (64 - _FRACTION_BITS)) / (1 << _FRACTION_BITS)
