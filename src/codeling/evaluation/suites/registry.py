"""The list of suites."""

import difflib
from collections.abc import Mapping

from codeling.errors import UsageError
from codeling.evaluation.suites.bits_per_byte import BitsPerByteSuite
from codeling.evaluation.suites.completion import CompletionSuite
from codeling.evaluation.suites.memorization import MemorizationSuite
from codeling.evaluation.suites.published_suites import PROBLEM_SUITES
from codeling.evaluation.suites.suite import Suite
from codeling.evaluation.suites.typing import TypingSuite

_ALL: tuple[Suite, ...] = (
    BitsPerByteSuite(),
    CompletionSuite(),
    TypingSuite(),
    *PROBLEM_SUITES,
    MemorizationSuite(),
)
SUITES: Mapping[str, Suite] = {suite.name: suite for suite in _ALL}
"""Every suite, in the order in which ``--all`` measures them."""


def find_suite(name: str) -> Suite:
    """The suite named ``name``. :raises UsageError: there is no such suite."""
    if name in SUITES:
        return SUITES[name]
    near = difflib.get_close_matches(name, SUITES, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UsageError(f"no suite {name!r}; {hint}the suites are {', '.join(SUITES)}")
