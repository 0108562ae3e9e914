"""State of one sequence in the engine: its ids, its text and its finish reason.

This module must not know torch, slots of a cache, or other sequences.
"""

from collections.abc import Iterable
from copy import copy, deepcopy
from typing import Any

from codeling.generation.cycles import Cycles
from codeling.generation.logprobs import TokenLogprobs
from codeling.generation.memory import SequenceMemory
from codeling.generation.request import Completion, Request, SamplingParams
from codeling.generation.sampling import Draw
from codeling.generation.text.decoding import CompletionText, FinishReason
from codeling.tokenizer.healing import Healed, Vocabulary


def window_start(num_tokens: int, context_length: int) -> int:
    """Index of the first of ``num_tokens`` tokens that the model sees.

    Learned positions cannot slide. While all tokens fit the context, the index is 0. After that it
    moves in steps of a quarter of the context, so the window has between three quarters and all of
    the context, and the cache stays valid between steps.
    """
    excess = num_tokens - context_length
    step = max(1, context_length // 4)
    return 0 if excess <= 0 else (excess + step - 1) // step * step


class Sequence:
    """One request being completed."""

    def __init__(self, request: Request, healed: Healed, context_length: int) -> None:
        """``healed`` is the prompt as ids, and the bytes that the next tokens must match."""
        params = request.params
        self.request = request
        self.ids = list(healed.ids)
        self.num_prompt = len(self.ids)
        self.healed = healed.pending
        """The end of the prompt that the first new tokens rewrite."""
        self.pending = healed.pending
        """Bytes of the prompt that the next tokens must start with."""
        self.num_healed = len(self.pending)
        """Number of bytes of the prompt that the new tokens write again."""
        self.context_length = context_length
        self.output = CompletionText(
            request.prompt, params.stops, params.stop_at_block_end, tuple(params.script_ends)
        )
        self.cycles = Cycles(healed.ids, params.max_repeats) if params.max_repeats else None
        self.document: tuple[list[int], list[int]] = ([], [])
        """Ids before and after the gap, for the memory; empty without one."""
        self.files: Any = None
        """The request's other files as the memory has read them."""
        self.memory: SequenceMemory | None = None
        """What changes the model's distribution for this sequence."""
        self.logprobs: list[TokenLogprobs] = []
        """One entry per picked token, ``<|endoftext|>`` too, if the request asks for them."""
        self.num_reused = 0
        """Number of prompt tokens that were already in the cache when the sequence started."""
        self.probabilities: list[float] = []
        """For each picked token, the product of the probabilities up to it, if the request has a
        ``min_probability``."""
        self.root = self
        """The sequence of which this is a branch."""
        self.branches: list[Sequence] = []
        """Sequences that continue the same prompt with other first tokens."""
        self._new_text: list[str] = []
        self._start = b""
        """The first bytes that were generated, until :attr:`SamplingParams.start_length`."""

    def branch(self) -> "Sequence":
        """A sequence for another first token, before the first token of this one is appended."""
        branch = copy(self)
        branch.ids = list(self.ids)
        branch.output, branch.cycles = deepcopy(self.output), deepcopy(self.cycles)
        branch.logprobs, branch.probabilities, branch.branches, branch._new_text = [], [], [], []
        branch.root = self
        self.branches.append(branch)
        return branch

    @property
    def draw(self) -> Draw:
        """Parameters of picking the next id."""
        params, temperature = self.params, self.params.temperature
        if params.prose_temperature is not None and self.output.in_prose:
            temperature = params.prose_temperature
        sample = self.request.sample
        return Draw(temperature, params.top_k, params.top_p, params.seed, sample, self.num_new)

    @property
    def params(self) -> SamplingParams:
        """The request's sampling parameters."""
        return self.request.params

    @property
    def is_infilling(self) -> bool:
        """Whether the completion fills a gap before a suffix."""
        return self.request.suffix is not None

    @property
    def num_new(self) -> int:
        """Number of tokens picked so far, ``<|endoftext|>`` not counted."""
        return len(self.ids) - self.num_prompt

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why the sequence ended; None while it or one of its branches runs."""
        is_running = any(not branch.has_ended for branch in self.branches)
        return None if is_running else self.output.finish_reason

    @property
    def has_ended(self) -> bool:
        """Whether this sequence reads no more tokens; its branches may."""
        return self.output.finish_reason is not None

    @property
    def left_edge(self) -> int:
        """Index of the first id that the model sees."""
        return window_start(len(self.ids), self.context_length)

    @property
    def window(self) -> list[int]:
        """The ids that the model sees."""
        return self.ids[self.left_edge :]

    def append(self, picked: int, vocabulary: Vocabulary, end_of_text: int) -> None:
        """Add a picked id, and finish the sequence if it is the last one."""
        if picked == end_of_text:
            self._end("end_of_text")
            return
        self.ids.append(picked)
        if self.cycles:
            self.cycles.add(picked)
        if self.memory:
            self.memory.observe(picked)
        new = vocabulary.token_bytes[picked][len(self.pending) :]
        self.pending = vocabulary.after(self.pending, picked)
        self._new_text.append(self.output.feed(new))
        is_full = self.is_infilling and len(self.ids) > self.context_length
        is_long = self.num_new == self.params.max_new_tokens
        if not self.has_ended and (is_full or is_long):
            self._end("length")
        limit = self.params.min_probability
        if limit is not None and not self.has_ended:
            if len(self._start.rstrip()) < self.params.start_length:
                limit = max(limit, self.params.start_probability)
                self._start += new
            if self.probabilities[-1] < limit:
                self._end("unlikely")

    def draft(self, most: int) -> list[int]:
        """Guess the next tokens: ``most`` or fewer, all within the window and the request."""
        room = self.context_length - len(self.ids) + self.left_edge
        most = min(most, room, self.params.max_new_tokens - self.num_new - 1)
        return self.memory.draft(most) if self.memory and most > 0 else []

    def end_healing(self, ids: Iterable[int]) -> None:
        """Take ``ids`` for the end of the prompt that the next tokens would have to rewrite."""
        self.ids += ids
        self.num_prompt = len(self.ids)
        self.healed = self.pending = b""
        self.num_healed = 0

    def add_probability(self, probability: float) -> None:
        """Record the probability of the token that is picked next."""
        product = self.probabilities[-1] if self.probabilities else 1.0
        self.probabilities.append(product * probability)

    def finish(self, reason: FinishReason) -> None:
        """End it and its branches for a reason outside their texts, such as a deadline."""
        for each in (self, *self.branches):
            if not each.has_ended:
                each._end(reason)

    def _end(self, reason: FinishReason) -> None:
        self._new_text.append(self.output.finish(reason))

    def new_text(self) -> str:
        """The text that became certain since the last call."""
        text = "".join(self._new_text)
        self._new_text.clear()
        return text

    def completion(self) -> Completion:
        """The finished completion."""
        reason = self.finish_reason
        assert reason is not None, "the sequence has not ended"
        ids = tuple(self.ids[self.num_prompt :])
        return Completion(self.output.text, ids, reason, self.memory.spans() if self.memory else ())
