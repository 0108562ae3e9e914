"""The query and the answer that all dialects share.

A dialect turns a body into a :class:`Query` and an :class:`Answer` into a body. This module must
not know sockets, JSON or the engine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from codeling.errors import UsageError
from codeling.generation.memory import MemorySpan
from codeling.generation.suggestions.choice import Proposer
from codeling.generation.text.decoding import FinishReason

DEFAULT_NEW_TOKENS = 128
"""Maximum number of new tokens of a query that does not say."""


class RequestError(UsageError):
    """A request that cannot be answered. The message is one line for the person who sent it."""

    def __init__(self, status: int, message: str, retry_seconds: int | None = None) -> None:
        """``status`` is the HTTP status; ``retry_seconds`` when the same request may succeed."""
        super().__init__(message)
        self.status = status
        self.retry_seconds = retry_seconds


class Prompt(NamedTuple):
    """One text to complete."""

    text: str
    """Text before the cursor."""
    suffix: str | None = None
    """Text after the cursor. None: the prompt is continued, without the rules of suggestions."""
    ids: tuple[int, ...] | None = None
    """The ids that the client sent instead of a text. They are scored exactly as sent."""


class SentFile(NamedTuple):
    """A file, or a part of one, that a client sends beside the open file."""

    path: str
    text: str


@dataclass(frozen=True)
class Query:
    """One request of any dialect."""

    prompts: tuple[Prompt, ...]
    n: int = 1
    """Number of completions per prompt."""
    max_new_tokens: int = DEFAULT_NEW_TOKENS
    """0: read the prompts into the cache and generate nothing."""
    temperature: float | None = None
    """None: the first completion is greedy, others are sampled."""
    top_k: int | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    num_logprobs: int | None = None
    """Number of most likely tokens to report at each step. None: no log-probabilities."""
    echo: bool = False
    """Whether the answer repeats the prompt, with its log-probabilities if those are asked for."""
    stream: bool = False
    include_usage: bool = False
    """Whether a stream ends with the number of tokens."""
    max_predict_seconds: float | None = None
    """Ends a completion after this time, once it contains a line end, as llama.cpp does."""
    files: tuple[SentFile, ...] = ()
    """Known to the memory as files of the project, for this query alone; the nearest last."""
    session: str | None = None
    """Editor, slot or user. The next query of the same session replaces the one in progress."""
    with_details: bool = False
    """Whether the choices name the proposers of their tokens."""
    response_fields: tuple[str, ...] = ()
    """llama.cpp: the only keys to answer with, such as ``timings/predicted_n``."""

    @property
    def num_completions(self) -> int:
        """Number of completions of all prompts."""
        return self.n * len(self.prompts)


class TokenScore(NamedTuple):
    """One token of an answer with its log-probability, as text."""

    id: int
    token: str
    logprob: float | None
    """In nats; None for the first token of a text, which nothing precedes."""
    top: tuple[tuple[str, float], ...]
    offset: int
    """Index of the token's first character in prompt and completion."""


@dataclass(frozen=True)
class ChoiceDetails:
    """The proposers of a completion, token by token. The order of the tokens is that of the ids."""

    proposer: Proposer | None = None
    """The proposer of the shown text: the model with its memory, or the words of the open file.
    None: nothing is shown, or the completion is not a suggestion."""
    probability: float | None = None
    """Estimated probability that all of the shown text is right."""
    num_healed: int = 0
    """Number of characters of the prompt that the first tokens write again."""
    probabilities: tuple[float, ...] = ()
    """Per token: its probability among the tokens that were allowed; empty if not known."""
    shares: tuple[Mapping[str, float], ...] = ()
    """Per token: the share of its probability by source; empty without a memory."""
    spans: tuple[MemorySpan, ...] = ()
    """Parts that were seen in the open file or the project, in order."""


@dataclass(frozen=True)
class Choice:
    """One completion."""

    index: int
    text: str
    """Without the prompt, unless the query asks for it."""
    ids: tuple[int, ...] = ()
    """Of a suggestion, those that the text reaches into."""
    finish_reason: FinishReason = "length"
    stop_string: str = ""
    """The stop string that ended it; empty if none did."""
    scores: tuple[TokenScore, ...] | None = None
    num_prompt: int = 0
    """Number of prompt tokens."""
    num_reused: int = 0
    """Number of prompt tokens that were in the cache already."""
    prompt_seconds: float = 0.0
    """Time until the first new token, without waiting for a place in the batch."""
    predict_seconds: float = 0.0
    """Time from the first new token to the last."""
    num_new: int = 0
    """Number of tokens that were generated; of a suggestion, also those that are not shown."""
    is_withheld: bool = False
    """Something was generated, and nothing of it is likely enough or new enough to be shown."""
    details: ChoiceDetails | None = None
    """If the query asks for them."""


@dataclass(frozen=True)
class Answer:
    """The completions of a query in order: those of the first prompt first."""

    choices: tuple[Choice, ...]

    def usage(self, n: int) -> tuple[int, int]:
        """Number of prompt and of new tokens; a prompt with ``n`` completions counts once."""
        prompts = sum(choice.num_prompt for choice in self.choices[::n])
        return prompts, sum(choice.num_new for choice in self.choices)


@dataclass(frozen=True)
class TextPiece:
    """Text of one completion that has become certain."""

    index: int
    text: str
    scores: tuple[TokenScore, ...] | None = None


@dataclass(frozen=True)
class ServedModel:
    """The model as the dialects describe it."""

    name: str
    context_length: int
    vocab_size: int
    can_infill: bool
    created: int
    """Unix time of the server's start."""
    version: str
    """Version of codeling."""
    device: str = "cpu"
    num_slots: int = 1
    """Maximum number of completions in progress."""


def expanded(prompts: Sequence[Prompt], n: int) -> list[tuple[Prompt, int]]:
    """Each prompt with the index of each of its ``n`` samples, in the order of the choices."""
    return [(prompt, sample) for prompt in prompts for sample in range(n)]
