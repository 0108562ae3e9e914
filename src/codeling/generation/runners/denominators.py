"""Logarithms of the sums over the vocabulary that turn logits into log-probabilities.

This module must not know torch or what the ids mean.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codeling.arrays.native import kernel_of
from codeling.generation.runners import processor
from codeling.generation.runners.processor import LANES

SOURCES = [str(Path(__file__).with_name(f"{name}.py")) for name in ("kernels", "tiles", "vectors")]
"""Sources of the kernels of :mod:`codeling.generation.runners.kernels`."""
SOURCES.append(str(processor.__file__))

_softmax_denominators = kernel_of(f"{__package__}.kernels", "softmax_denominators", *SOURCES)


def log_denominators(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Logarithm of the sum of ``exp(logits)`` of each row of ``logits`` (R, V), (R,).

    A row's does not depend on the other rows, bit for bit. ``logits`` are changed; V is a multiple
    of 16.
    """
    peaks, totals = np.empty((2, len(logits)), np.float32)
    _softmax_denominators(logits, peaks, totals)
    return peaks.astype(np.float64) + np.log(totals, dtype=np.float64)


def padded_copy(logits: NDArray[np.float32], rows: list[int]) -> NDArray[np.float32]:
    """``logits[rows]`` (R, V) with entries of minus infinity up to the next multiple of 16."""
    size = logits.shape[1]
    copy = np.empty((len(rows), -(-size // LANES) * LANES), np.float32)
    copy[:, :size], copy[:, size:] = logits[rows], -np.inf
    return copy
