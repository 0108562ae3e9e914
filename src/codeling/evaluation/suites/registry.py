"""The suites by name: what each asks, what data it takes, and how it samples unless told otherwise.

Facts only; :mod:`codeling.evaluation.harness` does the work.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from codeling.errors import UsageError
from codeling.evaluation.sandbox import Limits

Kind = Literal["texts", "completion", "problems", "memorization"]


@dataclass(frozen=True)
class Suite:
    """One suite."""

    name: str
    kind: Kind
    what: str
    patterns: tuple[str, ...] = ()
    """Names of its published files, in lower case; looked for below a folder."""
    not_patterns: tuple[str, ...] = ()
    """Names that these match too and that are another suite's."""
    data: str = ""
    """What to give it, for the message where nothing was given."""
    packages: tuple[str, ...] = ()
    """What its programs import beyond the standard library."""
    cpu_seconds: int = 3
    """Of one program; openai/human-eval allows 3 seconds, EvalPlus a minute for its many inputs."""
    max_new_tokens: int = 512
    limit: int | None = None
    """Problems, functions or prompts where no limit is given; None: all."""

    @property
    def limits(self) -> Limits:
        """Of each program. The wall clock leaves room for a busy machine."""
        return Limits(cpu_seconds=self.cpu_seconds, wall_seconds=max(10.0, 2.0 * self.cpu_seconds))


_ALL = (
    Suite("bits-per-byte", "texts", "bits of surprise a byte of unseen text"),
    Suite(
        "completion", "completion", "the next line and the next block of unseen functions",
        max_new_tokens=192, limit=200,
    ),
    Suite(
        "infilling", "problems", "HumanEval with a line or a span missing",
        patterns=("*infilling*.jsonl*", "*infilling*.parquet"),
        data="HumanEval-SingleLineInfilling.jsonl.gz (or another HumanEval-…Infilling….jsonl.gz)",
        max_new_tokens=128,
    ),
    Suite(
        "humaneval", "problems", "164 functions from their docstrings",
        patterns=("humaneval.*", "human-eval.*", "human_eval.*", "openai_humaneval*"),
        data="HumanEval.jsonl.gz or hf://openai/openai_humaneval",
    ),
    Suite(
        "humaneval-plus", "problems", "HumanEval with about eighty times the tests",
        patterns=("humanevalplus*",),
        data="HumanEvalPlus.jsonl.gz or hf://evalplus/humanevalplus",
        packages=("numpy",), cpu_seconds=60,
    ),
    Suite(
        "mbpp", "problems", "974 short programs from a description",
        patterns=("mbpp*", "sanitized-mbpp*"), not_patterns=("mbppplus*",),
        data="mbpp_release_v1.jsonl (mxeval) or hf://google-research-datasets/mbpp",
    ),
    Suite(
        "mbpp-plus", "problems", "378 programs of MBPP with about thirty-five times the tests",
        patterns=("mbppplus*",),
        data="MbppPlus.jsonl.gz or hf://evalplus/mbppplus",
        packages=("numpy",), cpu_seconds=60,
    ),
    Suite(
        "pandas-eval", "problems", "101 tasks for pandas", patterns=("pandaseval*",),
        data="PandasEval.jsonl.gz", packages=("pandas", "numpy"), max_new_tokens=128,
    ),
    Suite(
        "numpy-eval", "problems", "101 tasks for numpy", patterns=("numpyeval*",),
        data="NumpyEval.jsonl.gz", packages=("pandas", "numpy"), max_new_tokens=128,
    ),
    Suite(
        "memorization", "memorization", "how much of what it writes is copied",
        max_new_tokens=256, limit=100,
    ),
)  # fmt: skip
SUITES: Mapping[str, Suite] = {suite.name: suite for suite in _ALL}
"""Every suite, in the order in which ``--all`` measures them."""


def suite(name: str) -> Suite:
    """The suite of that name. :raises UsageError: there is none."""
    if name in SUITES:
        return SUITES[name]
    near = difflib.get_close_matches(name, SUITES, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UsageError(f"no suite {name!r}; {hint}the suites are {', '.join(SUITES)}")


def published_sampling(n: int) -> tuple[float, float | None]:
    """Temperature and top p for ``n`` samples where none are given.

    Greedy for one. For more those of Chen et al. 2021: top p 0.95, and the temperature that is
    best for the largest k that n samples can estimate: 0.2 for pass@1, 0.8 for pass@100.
    """
    if n == 1:
        return 0.0, None
    return (0.8, 0.95) if n >= 100 else (0.2, 0.95)
