"""Text that goes in circles: the ids that would go on with it.

A small model that has written a line twice tends to write it until its tokens are spent. A penalty
on what has been written (Keskar et al. 2019), or a ban on n-grams that have been (Paulus et al.
2017), does not suit code, which says the same again all the time. What it hardly ever has is a run
of tokens that comes again directly behind itself, and again; only that counts here.
docs/results.md has both shares.

This module must not know torch, nor what the ids mean.
"""

from collections.abc import Sequence

import numpy as np

LONGEST = 256
"""Runs of more tokens are not looked for."""
SHORT = 8
"""So many tokens may be repetition at any rate: a run of two, such as ``, 0``, comes five times."""


class Cycles:
    """The ids of one text, as far as they repeat what stands directly before them.

    Of each period p up to :data:`LONGEST` it is known how many of the last ids, one after another,
    are the same as the id p places before. To add an id takes a few operations on as many numbers.
    """

    def __init__(self, prompt: Sequence[int], max_repeats: int) -> None:
        """Of the prompt's own repetition nothing counts, only that the completion may repeat it.

        A run of ids may stand ``max_repeats`` times in a row, or be repeated for :data:`SHORT` ids;
        with 1 nothing longer than those comes again, in a row or not.
        """
        self._ids = np.full(2 * LONGEST, -1, dtype=np.int64)
        """From ``_newest`` on the last ids, newest first; before it room for as many."""
        self._newest = LONGEST
        last = prompt[-LONGEST:]
        self._ids[LONGEST : LONGEST + len(last)] = last[::-1]
        self._repeated = np.zeros(LONGEST, dtype=np.int64)
        self._allowed = np.maximum((max_repeats - 1) * np.arange(1, LONGEST + 1), SHORT)

    def add(self, picked: int) -> None:
        """Take in the next id."""
        before = self._ids[self._newest : self._newest + LONGEST]
        self._repeated = (self._repeated + 1) * (before == picked)
        if self._newest == 0:
            self._ids[LONGEST:] = self._ids[:LONGEST]
            self._newest = LONGEST
        self._newest -= 1
        self._ids[self._newest] = picked

    def going_on(self) -> list[int]:
        """The ids that would repeat more than is allowed."""
        (places,) = np.nonzero(self._repeated >= self._allowed)
        return self._ids[self._newest + places].tolist()  # type: ignore[no-any-return]
