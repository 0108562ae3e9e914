"""Random numbers that depend on their purpose and position only, never on earlier draws.

Every purpose has its own number, so no two share a stream. Source of the generator: Salmon et al.
2011 (Philox), as implemented in numpy.
"""

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """Purposes of the random numbers."""

    CHUNK_ORDER = 1
    WINDOW_ORDER = 2
    INFILLING_CHOICE = 3
    INFILLING_CUTS = 4
    BIGRAMS = 5


def generator(purpose: Purpose, *position: int) -> np.random.Generator:
    """A new stream for ``purpose`` at ``position``, whose first number is the seed."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([purpose, *position])))
