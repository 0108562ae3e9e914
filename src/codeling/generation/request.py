"""Requests to the engine, and the completions that it returns.

This module must not know torch, models or files.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypedDict

from codeling.errors import UsageError
from codeling.generation.memory import MemorySpan
from codeling.generation.text.decoding import FinishReason

MAX_SAMPLES = 10_000
"""Maximum number of samples for one prompt in one call."""


class SamplingKwargs(TypedDict, total=False):
    """Keyword arguments of the engine's methods: the fields of :class:`SamplingParams`."""

    max_new_tokens: int
    temperature: float
    prose_temperature: float | None
    top_k: int | None
    top_p: float | None
    stop: str | Sequence[str]
    stop_at_block_end: bool
    script_ends: Sequence[str]
    max_repeats: int
    min_probability: float | None
    start_probability: float
    start_length: int
    num_branches: int
    branch_probability: float
    seed: int
    record_sources: bool


SAMPLING_TEMPERATURE = 0.8
"""Temperature for several completions of one prompt, unless the caller gives one."""


def default_temperature(n: int) -> float:
    """Temperature for ``n`` completions of one prompt: one is greedy, more have to differ."""
    return SAMPLING_TEMPERATURE if n > 1 else 0.0


@dataclass(frozen=True)
class SamplingParams:
    """Parameters of picking the next token and of ending a completion."""

    temperature: float = 0.0
    """0: greedy, always the most likely token. 1: the model's own distribution."""
    top_k: int | None = None
    """Sample from the ``top_k`` most likely tokens only."""
    top_p: float | None = None
    """Nucleus sampling: keep the smallest set of tokens whose probability reaches ``top_p``.
    Applied after ``top_k``."""
    prose_temperature: float | None = None
    """Temperature within comments and triple-quoted strings. None: the same as
    :attr:`temperature`. A low temperature suits code, but makes the rare token that ends a
    docstring rarer still."""
    seed: int = 0
    """Seed of the random draws."""
    max_new_tokens: int = 128
    """Maximum number of new tokens, including those that rewrite the healed end of a prompt."""
    stop: str | Sequence[str] = ()
    """One or more strings that end a completion. They are never part of it."""
    stop_at_block_end: bool = False
    """End where the function body ends (:class:`~codeling.generation.text.blocks.BlockEnd`).
    ``<|endoftext|>`` is then forbidden within a string or brackets, except when infilling, where
    the suffix may close them."""
    script_ends: Sequence[str] = ()
    """With ``stop_at_block_end``, for a prompt outside any definition: end before a line that
    begins with one of these (:class:`~codeling.generation.text.scripts.ScriptEnd`)."""
    max_repeats: int = 3
    """Maximum times a token sequence may repeat back to back, 0: unlimited. Short sequences may
    repeat more often (:class:`~codeling.generation.cycles.Cycles`)."""
    min_probability: float | None = None
    """End after the token with which the product of the picked tokens' probabilities falls below
    this. Each is a share among the tokens that were allowed in its place. None: no limit, and
    :attr:`Sequence.probabilities` stays empty."""
    start_probability: float = 0.0
    """The same limit for a text that has fewer than :attr:`start_length` bytes before the token,
    white space at its end not counted. Has no effect without a ``min_probability``."""
    start_length: int = 0
    """Length of the beginning for which :attr:`start_probability` is the limit."""
    num_branches: int = 1
    """Number of most likely first tokens that are followed, each as a sequence of its own
    (:attr:`Sequence.branches`), if there is a ``min_probability``. The completion is the first."""
    branch_probability: float = 0.05
    """Probability that a further first token must have to be followed."""
    record_sources: bool = False
    """Record the places of the memory's proposals: :attr:`Completion.sources`."""

    def __post_init__(self) -> None:
        """Check every value. :raises UsageError: a value is out of range or of the wrong type."""
        counts = ("max_new_tokens", "max_repeats", "num_branches", "start_length")
        for name in ("top_k", "seed", *counts):
            value = getattr(self, name)
            optional = name == "top_k" and value is None
            if not optional and (not isinstance(value, int) or isinstance(value, bool)):
                raise UsageError(f"{name} must be an integer, not {value!r}")
        probabilities = ("min_probability", "start_probability", "branch_probability")
        for name in ("temperature", "prose_temperature", "top_p", *probabilities):
            value = getattr(self, name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if value is not None and not is_number:
                raise UsageError(f"{name} must be a number, not {value!r}")
        if self.temperature is None:
            raise UsageError("temperature must be a number, not None")
        if not isinstance(self.stop_at_block_end, bool):
            raise UsageError(
                f"stop_at_block_end must be True or False, not {self.stop_at_block_end!r}"
            )
        for name in ("stop", "script_ends"):
            value = getattr(self, name)
            is_sequence = isinstance(value, Sequence)
            if not is_sequence or not all(isinstance(each, str) for each in value):
                raise UsageError(f"{name} must be strings, not {value!r}")
        for name in ("temperature", "prose_temperature"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= sys.float_info.max:
                raise UsageError(f"{name} must be a finite number of 0 or more, not {value}")
        if self.top_k is not None and self.top_k < 1:
            raise UsageError(f"top_k must be 1 or more, not {self.top_k}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UsageError(f"top_p must be above 0 and at most 1, not {self.top_p}")
        for name in probabilities:
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise UsageError(f"{name} must be from 0 to 1, not {value}")
        if self.seed < 0:
            raise UsageError(f"seed must be 0 or more, not {self.seed}")
        if self.max_new_tokens < 1:
            raise UsageError(f"max_new_tokens must be 1 or more, not {self.max_new_tokens}")
        if self.num_branches < 1:
            raise UsageError(f"num_branches must be 1 or more, not {self.num_branches}")
        if self.max_repeats < 0:
            raise UsageError(f"max_repeats must be 0 or more, not {self.max_repeats}")
        if self.start_length < 0:
            raise UsageError(f"start_length must be 0 or more, not {self.start_length}")
        if "" in self.stops:
            raise UsageError("a stop string must not be empty")

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings as a tuple."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)


@dataclass(frozen=True)
class Request:
    """One completion to be made."""

    prompt: str
    """Text before the cursor, taken as the beginning of a file."""
    suffix: str | None = None
    """Text after the cursor, for infilling; None: only continue the prompt."""
    params: SamplingParams = field(default_factory=SamplingParams)
    sample: int = 0
    """Index among the samples of the same prompt. Each index draws differently from one seed."""
    num_logprobs: int | None = None
    """Number of most likely tokens recorded at each step, beside the picked one. None: nothing is
    recorded."""
    files: Sequence[tuple[str, str]] = ()
    """Paths and texts of other files, which the memory knows for this request, the nearest last."""


@dataclass(frozen=True)
class Completion:
    """The text that a model generated for a prompt. ``str()`` gives :attr:`text`."""

    text: str
    """Generated text: without the prompt and the stop string, cut at the block's end if asked."""
    ids: tuple[int, ...]
    """Every generated token id except ``<|endoftext|>``. They start with the tokens that rewrite
    the healed end of the prompt, and may decode to more than :attr:`text` at the end."""
    finish_reason: FinishReason
    """``stop``, ``length``, ``block``, ``end_of_text`` or ``unlikely``."""
    sources: Sequence[MemorySpan] = ()
    """Parts that the engine's memory proposed, in order, if the request asks for them."""

    def __str__(self) -> str:
        return self.text
