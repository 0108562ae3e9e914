"""How often one of k samples solves a problem, and how far a mean over problems can be trusted.

pass@k is the unbiased estimator of Chen et al. 2021 ("Evaluating Large Language Models Trained on
Code", section 2.1): of ``n`` samples ``c`` are right, and of the subsets of k samples so many hold
a right one. Intervals are percentile bootstraps over problems (Efron and Tibshirani 1993); where
every problem scores the same 0 or 1, resampling sees no spread at all, and the interval is Wilson's
(1927). Numbers only; this module must not know what a problem is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

RESAMPLES = 2000
"""Of the bootstrap; Efron and Tibshirani take 1000 for the ends of an interval of 95 %."""
_ROWS_AT_ONCE = 200


def pass_at_k(n: int, c: int, k: int) -> float:
    """1 - C(n - c, k) / C(n, k), exactly and rounded once; ``c`` of ``n`` samples are right.

    :raises ValueError: there are fewer than ``k`` samples, or more right ones than samples.
    """
    if not (1 <= k <= n and 0 <= c <= n):
        raise ValueError(f"no pass@{k} of {c} right among {n} samples")
    return float(1 - Fraction(math.comb(n - c, k), math.comb(n, k)))


@dataclass(frozen=True)
class Score:
    """A mean over problems."""

    value: float
    interval_95: tuple[float, float] | None
    """Where the mean would lie, had other problems like these been drawn; None for one problem."""
    num_problems: int


def mean(values: Sequence[float], seed: int = 0, resamples: int = RESAMPLES) -> Score | None:
    """The mean of one value a problem with its 95 % interval; None where there is no problem."""
    return ratio(values, [1.0] * len(values), seed, resamples)


def ratio(
    numerators: Sequence[float],
    denominators: Sequence[float],
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Score | None:
    """Sum over sum, one pair a problem, with its 95 % interval; None where there is no problem."""
    if not numerators:
        return None
    above, below = np.array(numerators, float), np.array(denominators, float)
    value = math.fsum(numerators) / math.fsum(denominators)
    if len(above) < 2:
        return Score(value, None, 1)
    if value in (0.0, 1.0) and bool((below == 1).all() and (above == value).all()):
        return Score(value, wilson(value, len(above)), len(above))
    generator = np.random.Generator(np.random.PCG64(seed))
    drawn: list[float] = []
    while len(drawn) < resamples:
        rows = min(_ROWS_AT_ONCE, resamples - len(drawn))
        chosen = generator.integers(len(above), size=(rows, len(above)))
        drawn += (above[chosen].sum(axis=1) / below[chosen].sum(axis=1)).tolist()
    low, high = np.quantile(drawn, [0.025, 0.975]).tolist()
    return Score(value, (low, high), len(above))


def wilson(share: float, n: int) -> tuple[float, float]:
    """Ends of the 95 % interval of a share of ``n`` that were right or wrong (Wilson 1927)."""
    z = 1.959964
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)
