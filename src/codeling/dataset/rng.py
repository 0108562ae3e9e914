"""Random numbers that depend on what they are for and where, and never on what was drawn before.

Every use has a number of its own, so that no two draw from one stream. Source of the generator:
Salmon et al. 2011 (Philox), as numpy has it.
"""

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What is drawn."""

    CHUNK_ORDER = 1
    WINDOW_ORDER = 2
    INFILLING_CHOICE = 3
    INFILLING_CUTS = 4
    BIGRAMS = 5


def generator(purpose: Purpose, *position: int) -> np.random.Generator:
    """A fresh stream for ``purpose`` at ``position``, the seed first."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([purpose, *position])))
