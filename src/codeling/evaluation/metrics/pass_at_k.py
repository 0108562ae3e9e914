"""pass@k, and means over problems with confidence intervals.

pass@k is the unbiased estimator of Chen et al. 2021 ("Evaluating Large Language Models Trained on
Code", section 2.1): if ``c`` of ``n`` samples are correct, the probability that a random subset of
k samples contains a correct one. Intervals are percentile bootstraps over problems (Efron and
Tibshirani 1993). If every problem scores 0 or every problem scores 1, the bootstrap has no
variance, and the interval is Wilson's (1927). This module must not know what a problem is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from codeling.quantity import quantity

RESAMPLES = 2000
"""Bootstrap resamples; Efron and Tibshirani recommend at least 1000 for a 95 % interval."""
_ROWS_PER_BATCH = 200


def pass_at_k(n: int, c: int, k: int) -> float:
    """Compute 1 - C(n - c, k) / C(n, k) exactly; ``c`` of ``n`` samples are correct.

    :raises ValueError: when ``k`` or ``c`` exceeds ``n``.
    """
    if not (1 <= k <= n and 0 <= c <= n):
        samples = quantity(n, "sample")
        raise ValueError(f"pass@{k} is undefined for {c} correct of {samples}")
    return float(1 - Fraction(math.comb(n - c, k), math.comb(n, k)))


@dataclass(frozen=True)
class Score:
    """A mean over problems."""

    value: float
    interval_95: tuple[float, float] | None
    """Confidence interval over the choice of problems; None for a single problem."""
    num_problems: int


def mean(values: Sequence[float], seed: int = 0, resamples: int = RESAMPLES) -> Score | None:
    """The mean of one value per problem with its 95 % interval; None without problems."""
    return ratio(values, [1.0] * len(values), seed, resamples)


def ratio(
    numerators: Sequence[float],
    denominators: Sequence[float],
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Score | None:
    """Sum of numerators over sum of denominators, with its 95 % interval; None without problems.

    Each problem is a pair, and pairs are resampled. If a pair is the number of correct samples and
    of all samples of a problem, this is a cluster bootstrap: samples of one problem are dependent.
    """
    if not numerators:
        return None
    above, below = np.array(numerators, float), np.array(denominators, float)
    value = math.fsum(numerators) / math.fsum(denominators)
    if len(above) < 2:
        return Score(value, None, 1)
    if value in (0.0, 1.0) and bool((above == value * below).all()):
        return Score(value, wilson(value, len(above)), len(above))
    generator = np.random.Generator(np.random.PCG64(seed))
    resampled: list[float] = []
    while len(resampled) < resamples:
        rows = min(_ROWS_PER_BATCH, resamples - len(resampled))
        indices = generator.integers(len(above), size=(rows, len(above)))
        resampled += (above[indices].sum(axis=1) / below[indices].sum(axis=1)).tolist()
    low, high = np.quantile(resampled, [0.025, 0.975]).tolist()
    return Score(value, (low, high), len(above))


def wilson(share: float, n: int) -> tuple[float, float]:
    """95 % interval of a share of ``n`` independent outcomes (Wilson 1927)."""
    z = 1.959964
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)
