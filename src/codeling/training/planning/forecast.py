"""Forecast the bits per byte of a run, by a scaling law fitted to a few measured runs.

The law is that of Hoffmann et al. 2022 (Chinchilla), in bits per byte: a constant, a term that
falls with the parameters of the blocks, and a term that falls with the tokens. The exponents are
theirs (0.34 and 0.28). The three coefficients are fitted by least squares to :data:`MEASURED`: few
runs, most of them short, none between 1.84 M tokens on a processor and 197 M on a GPU. The error is
the leave-one-out error: each run is predicted by a fit to the others.
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
    """One run on the installed Python of one machine, with its bits per byte."""

    block_parameters: int
    tokens: float
    bits_per_byte: float


def _block_parameters(layers: int, width: int) -> int:
    return layers * (12 * width**2 + 13 * width) + 2 * width


MEASURED = (
    MeasuredRun(_block_parameters(4, 192), 0.50e6, 1.712),
    MeasuredRun(_block_parameters(4, 192), 1.84e6, 1.433),
    MeasuredRun(_block_parameters(4, 192), 1.84e6, 1.435),
    MeasuredRun(_block_parameters(8, 512), 0.16e6, 1.931),
    MeasuredRun(_block_parameters(8, 512), 1.55e6, 1.452),
    MeasuredRun(_block_parameters(12, 768), 197e6, 0.779),
)
"""Sources. The shorter ``nano`` and ``mini``: ``docs/log.md``, "Induction heads before the first
step"; the longer ``nano``: ``docs/tokenizer.md``, "Against other tokenizers"; the longer ``mini``:
an hour on two cores; ``small``: ``docs/log.md``, "One H200". Vocabulary sizes and scored texts
differ between the runs."""


@dataclass(frozen=True)
class Forecast:
    """Expected quality of a run."""

    bits_per_byte: float
    error: float
    """Root mean square of the leave-one-out errors."""
    is_within: bool
    """Whether tokens and parameters lie between a third of the smallest and three times the largest
    measured value. Outside this range the forecast is a guess."""


def forecast(block_parameters: int, tokens: int) -> Forecast:
    """Forecast for a model with ``block_parameters`` (without embeddings) trained on ``tokens``."""
    is_within = all(
        min(measured) / 3 <= value <= 3 * max(measured)
        for value, measured in (
            (block_parameters, [run.block_parameters for run in MEASURED]),
            (tokens, [run.tokens for run in MEASURED]),
        )
    )
    error, coefficients = _fit()
    bits_per_byte = float(_terms(block_parameters, tokens) @ coefficients)
    return Forecast(bits_per_byte, error, is_within)


def _terms(block_parameters: float, tokens: float) -> NDArray[np.float64]:
    return np.array([1.0, block_parameters**-_PARAMETER_EXPONENT, tokens**-_TOKEN_EXPONENT])


@cache
def _fit() -> tuple[float, NDArray[np.float64]]:
    """The leave-one-out error and the coefficients (3,)."""
    residuals = []
    for left_out in MEASURED:
        others = tuple(run for run in MEASURED if run is not left_out)
        predicted = _terms(left_out.block_parameters, left_out.tokens) @ _least_squares(others)
        residuals.append(float(predicted) - left_out.bits_per_byte)
    error = math.sqrt(sum(residual**2 for residual in residuals) / len(residuals))
    return error, _least_squares(MEASURED)


def _least_squares(runs: tuple[MeasuredRun, ...]) -> NDArray[np.float64]:
    """Non-negative coefficients (3,) with the least squared error on ``runs``."""
    terms = np.stack([_terms(run.block_parameters, run.tokens) for run in runs])
    targets = np.array([run.bits_per_byte for run in runs])
    best: NDArray[np.float64] = np.zeros(3)
    lowest = math.inf
    for used in ([0, 1, 2], [1, 2], [0, 2], [2]):  # subsets of the terms
        coefficients, *_ = np.linalg.lstsq(terms[:, used], targets, rcond=None)
        squared_error = float(np.sum((terms[:, used] @ coefficients - targets) ** 2))
        if (coefficients >= 0).all() and squared_error < lowest:
            lowest, best = squared_error, np.zeros(3)
            best[used] = coefficients
    return best
