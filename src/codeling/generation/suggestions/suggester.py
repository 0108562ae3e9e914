"""From the text around a cursor to a request to the engine, and from its result to a suggestion.

:meth:`Suggester.request` and :meth:`Suggester.suggestion` are the two halves, for a server that has
many requests under way. :meth:`Suggester.suggest` does both for one cursor.

A suggestion is a function of the text around the cursor and the settings alone. This module must
not know torch or sockets.
"""

import codecs
from dataclasses import dataclass
from typing import Literal

from codeling.generation.engine import Engine
from codeling.generation.request import Request, SamplingParams
from codeling.generation.sequence import Sequence
from codeling.generation.suggestions.choice import (
    MIN_CHARACTERS,
    TAIL,
    Candidate,
    Suggestion,
    choose,
)
from codeling.generation.suggestions.place import Place, find_place
from codeling.generation.suggestions.words import matching_words

_MAX_LINE_TOKENS = 24
_MAX_BLOCK_TOKENS = 64
_NUM_BRANCHES = 3
"""First tokens that are followed. Always shown, on the validation split of the demo, a second saves
1.7 % more of the characters and a third 0.5 % (docs/log.md)."""
_MIN_BRANCH = 0.05
"""Probability of a further first token that is followed. One below the threshold cannot begin what
is shown."""
_MAX_WORDS = 3
_MAX_PROMPT = 24_576
_PROMPT_STEP = 8192
"""Characters. The beginning of a long prompt moves in such steps, so that typing on keeps what
the engine has read."""

Aggressiveness = Literal["quiet", "normal", "eager"]
THRESHOLDS: dict[Aggressiveness, float] = {"quiet": 0.7, "normal": 0.25, "eager": 0.1}
"""Probability that the beginning of a suggestion must reach. Chosen on the validation split of the
demo: about half of what ``normal`` shows is accepted, and a third of what ``eager`` shows.
``quiet`` stays well below 1 wrong suggestion per 100 characters, because other files have more."""


@dataclass(frozen=True)
class SuggestionSettings:
    """The proposers to use, and the threshold of a suggestion."""

    threshold: float = 0.0
    """Probability that the beginning of a text must reach to be shown."""
    use_model: bool = True
    use_words: bool = True
    """Propose words of the open file."""


class Suggester:
    """Suggests what follows a cursor."""

    def __init__(self, engine: Engine, settings: SuggestionSettings = SuggestionSettings()) -> None:
        self.engine = engine
        self.settings = settings

    def suggest(self, prefix: str, suffix: str = "") -> Suggestion | None:
        """Suggest what may be written between ``prefix`` and ``suffix``."""
        place = find_place(prefix, suffix)
        if place is None:
            return None
        candidates = self.candidates(place, prefix, suffix)
        return choose(candidates, prefix, suffix, place, self.settings.threshold)

    def candidates(self, place: Place, prefix: str, suffix: str = "") -> list[Candidate]:
        """The candidates of all proposers at ``place``, between ``prefix`` and ``suffix``."""
        sequence = None
        if self.settings.use_model:
            sequence = self.engine.add(self.request(place, prefix, suffix))
            try:
                while sequence.finish_reason is None:
                    self.engine.step()
            finally:
                self.engine.abort(sequence)
        return self._candidates(place, prefix, suffix, sequence)

    def request(self, place: Place, prefix: str, suffix: str) -> Request:
        """The request to the engine at ``place``."""
        is_block = place.reach == "block"
        params = SamplingParams(
            max_new_tokens=_MAX_BLOCK_TOKENS if is_block else _MAX_LINE_TOKENS,
            stop=() if is_block else "\n",
            stop_at_block_end=is_block,
            min_probability=TAIL * self.settings.threshold,
            start_probability=self.settings.threshold,
            start_length=MIN_CHARACTERS,
            num_branches=_NUM_BRANCHES,
            branch_probability=max(_MIN_BRANCH, self.settings.threshold),
        )
        is_infilling = suffix.strip() != "" and self.engine.tokenizer.can_infill
        return Request(prompt_of(prefix), suffix if is_infilling else None, params)

    def suggestion(
        self, place: Place, prefix: str, suffix: str, sequence: Sequence | None
    ) -> Suggestion | None:
        """The suggestion, once ``sequence``, made from :meth:`request`, has ended."""
        candidates = self._candidates(place, prefix, suffix, sequence)
        return choose(candidates, prefix, suffix, place, self.settings.threshold)

    def _candidates(
        self, place: Place, prefix: str, suffix: str, sequence: Sequence | None
    ) -> list[Candidate]:
        candidates = []
        if sequence is not None:
            token_bytes = self.engine.tokenizer.token_bytes
            found = (sequence, *sequence.branches)
            candidates += [_candidate(each, token_bytes) for each in found]
        if self.settings.use_words:
            candidates += word_candidates(place, prefix, suffix)
        return candidates


def word_candidates(place: Place, prefix: str, suffix: str) -> list[Candidate]:
    """The most likely words of the open file."""
    if place.in_literal:
        return []
    size = len(place.fragment)
    return [
        Candidate(word[size:], ((len(word) - size, probability),), "words")
        for word, probability in matching_words(prefix, suffix, place.fragment)[:_MAX_WORDS]
    ]


def prompt_of(prefix: str) -> str:
    """The end of ``prefix`` that the model is given. It begins at a line that is not indented."""
    excess = len(prefix) - _MAX_PROMPT
    if excess <= 0:
        return prefix
    begin = -(-excess // _PROMPT_STEP) * _PROMPT_STEP
    line = prefix.find("\n", begin) + 1
    return prefix[line if 0 < line < len(prefix) else begin :]


def _candidate(sequence: Sequence, token_bytes: "list[bytes] | tuple[bytes, ...]") -> Candidate:
    """The text of an ended sequence with its probabilities."""
    text = sequence.output.text
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    num_skipped, length, probabilities = sequence.num_healed, 0, []
    for picked, probability in zip(
        sequence.ids[sequence.num_prompt :], sequence.probabilities, strict=False
    ):
        data = token_bytes[picked]
        length += len(decoder.decode(data[num_skipped:]))
        num_skipped = max(0, num_skipped - len(data))
        if length:
            probabilities.append((length, probability))
    is_whole = sequence.output.finish_reason in ("stop", "block", "end_of_text")
    return Candidate(text, tuple(probabilities), "model", is_whole)
