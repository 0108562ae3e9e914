"""Detect token sequences that repeat back to back, and the ids that would continue them.

A small model that has written a line twice tends to repeat it until it reaches the token limit. A
penalty on earlier tokens (Keskar et al. 2019) or a ban on repeated n-grams (Paulus et al. 2017)
does not suit code, which is repetitive. But code rarely repeats a sequence several times back to
back, so only that is limited. docs/results.md has the figures.

This module must not know torch or what the ids mean.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

LONGEST = 256
"""Longest sequence, in tokens, whose repetition is detected."""
SHORT = 8
"""Repeated tokens that are always allowed: a sequence of two (``, 0``) may occur five times."""
_UNREACHABLE = 1 << 40
"""More repeats than any sequence has. Larger values would overflow."""


class Cycles:
    """Tracks repetition in one sequence of ids.

    For each period p up to :data:`LONGEST` it counts how many of the latest ids in a row equal the
    id p positions before.
    """

    def __init__(self, prompt: Sequence[int], max_repeats: int) -> None:
        """Start after ``prompt``. Repetition within the prompt does not count.

        A sequence of ids may occur ``max_repeats`` times back to back, or be repeated for
        :data:`SHORT` ids.
        """
        self._prompt = prompt[-LONGEST:]
        self._max_repeats = max_repeats
        self._first: list[int] = []
        """The ids added so far, until there are :data:`SHORT`. Fewer repeated ids are allowed, and
        most suggestions are shorter, so nothing is counted before."""
        self._counts: _Counts | None = None

    def add(self, picked: int) -> None:
        """Append the next id."""
        if self._counts is not None:
            self._counts.add(picked)
            return
        self._first.append(picked)
        if len(self._first) == SHORT:
            self._counts = _Counts(self._prompt)
            for each in self._first:
                self._counts.add(each)

    def banned(self) -> list[int]:
        """The ids that would exceed the allowed repetition."""
        return [] if self._counts is None else self._counts.exceeding(_allowed(self._max_repeats))


class _Counts:
    """The counts of :class:`Cycles`; each id takes a few operations on arrays of that length."""

    def __init__(self, prompt: Sequence[int]) -> None:
        self._ids = np.full(2 * LONGEST, -1, dtype=np.int64)
        """The latest ids from index ``_newest`` on, newest first, with free space before them."""
        self._newest = LONGEST
        self._ids[LONGEST : LONGEST + len(prompt)] = prompt[::-1]
        self._repeated = np.zeros(LONGEST, dtype=np.int64)

    def add(self, picked: int) -> None:
        """Append the next id."""
        before = self._ids[self._newest : self._newest + LONGEST]
        self._repeated = (self._repeated + 1) * (before == picked)
        if self._newest == 0:
            self._ids[LONGEST:] = self._ids[:LONGEST]
            self._newest = LONGEST
        self._newest -= 1
        self._ids[self._newest] = picked

    def exceeding(self, allowed: NDArray[np.int64]) -> list[int]:
        """The ids that would repeat more than ``allowed`` (LONGEST,) ids."""
        (places,) = np.nonzero(self._repeated >= allowed)
        return self._ids[self._newest + places].tolist()  # type: ignore[no-any-return]


@lru_cache(16)
def _allowed(max_repeats: int) -> NDArray[np.int64]:
    """(LONGEST,): for each period, the number of repeated ids that is allowed."""
    limit = min(max_repeats, _UNREACHABLE) - 1
    return np.maximum(limit * np.arange(1, LONGEST + 1), SHORT)
