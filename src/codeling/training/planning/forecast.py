"""Bits per byte to expect of a run, from a fit to the few that were measured.

The form is Hoffmann et al. 2022's (Chinchilla), in bits per byte: a floor, a part that falls
with the parameters of the blocks, a part that falls with the tokens. Their exponents are kept
(0.34 and 0.28); the three other numbers come from least squares over :data:`MEASURED`, runs of the
recipe as it is, few and most of them short. The error is that of each run predicted by a fit to the
others. Between an hour of two cores and a hundred times as many tokens on one GPU there is none.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

_PARAMETER_EXPONENT = 0.34
_TOKEN_EXPONENT = 0.28


@dataclass(frozen=True)
class MeasuredRun:
    """One run: validation bits per byte of the installed Python of one machine."""

    block_parameters: int
    tokens: float
    bits_per_byte: float


def _blocks(layers: int, width: int) -> int:
    return layers * (12 * width**2 + 13 * width) + 2 * width


MEASURED = (
    MeasuredRun(_blocks(4, 192), 0.50e6, 1.712),
    MeasuredRun(_blocks(4, 192), 1.84e6, 1.433),
    MeasuredRun(_blocks(4, 192), 1.84e6, 1.435),
    MeasuredRun(_blocks(8, 512), 0.16e6, 1.931),
    MeasuredRun(_blocks(8, 512), 1.55e6, 1.452),
    MeasuredRun(_blocks(12, 768), 197e6, 0.779),
)
"""The shorter ``nano`` and ``mini`` of "Heads that copy" in ``docs/results.md``, the longer of
"Against what others train" in ``docs/tokenizer.md``, ``small`` of "One H200"; entries differ, and
so does what they are scored on."""


@dataclass(frozen=True)
class Forecast:
    """What a run is expected to come to."""

    bits_per_byte: float
    error: float
    """Root mean square of what the fit misses a measured run by that it has not seen."""
    is_within: bool
    """Whether tokens and parameters lie between the smallest and three times the largest
    measured; outside of that it is a guess."""


def forecast(block_parameters: int, tokens: int) -> Forecast:
    """Of a model with so many parameters outside the embeddings, trained on ``tokens``."""
    within = all(
        min(known) / 3 <= value <= 3 * max(known)
        for value, known in (
            (block_parameters, [run.block_parameters for run in MEASURED]),
            (tokens, [run.tokens for run in MEASURED]),
        )
    )
    error, fitted = _fit()
    expected = float(_terms(block_parameters, tokens) @ fitted)
    return Forecast(expected, error, within)


def _terms(block_parameters: float, tokens: float) -> NDArray[np.float64]:
    return np.array([1.0, block_parameters**-_PARAMETER_EXPONENT, tokens**-_TOKEN_EXPONENT])


@cache
def _fit() -> tuple[float, NDArray[np.float64]]:
    """The error, and the three numbers."""
    misses = []
    for left_out in MEASURED:
        others = tuple(run for run in MEASURED if run is not left_out)
        expected = _terms(left_out.block_parameters, left_out.tokens) @ _least_squares(others)
        misses.append(float(expected) - left_out.bits_per_byte)
    error = math.sqrt(sum(miss**2 for miss in misses) / len(misses))
    return error, _least_squares(MEASURED)


def _least_squares(runs: tuple[MeasuredRun, ...]) -> NDArray[np.float64]:
    """The numbers of the form that fit ``runs`` best, none below zero."""
    terms = np.stack([_terms(run.block_parameters, run.tokens) for run in runs])
    wanted = np.array([run.bits_per_byte for run in runs])
    best: NDArray[np.float64] = np.zeros(3)
    least = math.inf
    for used in ([0, 1, 2], [1, 2], [0, 2], [2]):  # the subset whose numbers are none below zero
        numbers, *_ = np.linalg.lstsq(terms[:, used], wanted, rcond=None)
        missed = float(np.sum((terms[:, used] @ numbers - wanted) ** 2))
        if (numbers >= 0).all() and missed < least:
            least, best = missed, np.zeros(3)
            best[used] = numbers
    return best
