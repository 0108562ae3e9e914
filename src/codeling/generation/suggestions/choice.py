"""Choose the proposal to show, and its length.

A candidate is a text with the probability that it is right up to each of its tokens. It is shown if
its beginning reaches a threshold, as far as the probability stays above a share of it, cut at the
end of a word. Among candidates, the one that saves the most characters on average is shown: the
characters up to the end of each word times the probability that they are right, less the keystroke
that accepts them.

This module must not know torch, tokens or models.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from codeling.generation.suggestions.place import Place, is_border, is_word_character
from codeling.generation.suggestions.trimming import trimmed

Proposer = Literal["model", "words"]

MIN_CHARACTERS = 3
"""Typed characters of a text that is worth the keystroke which accepts it."""
TAIL = 0.1
"""Share of the threshold down to which a text continues once it is long enough to be shown. A
person accepts it word by word, so its end may be less likely than its beginning. On the validation
split of the demo, 0.1 saved 1 % more characters than 0.3 at equally many wrong suggestions."""


@dataclass(frozen=True)
class Candidate:
    """A text that may follow the cursor."""

    text: str
    probabilities: tuple[tuple[int, float], ...]
    """Per token: number of characters up to its end (ascending), and the probability that the text
    is right up to there (descending)."""
    proposer: Proposer = "model"
    is_whole: bool = True
    """False if the text was cut off at a limit, possibly within a word."""


@dataclass(frozen=True)
class Suggestion:
    """The text shown after the cursor."""

    text: str
    probability: float
    """Estimated probability that all of it is right."""
    proposer: Proposer
    expected_saving: float
    """Characters saved on average by showing it."""


def choose(
    candidates: Iterable[Candidate], prefix: str, suffix: str, place: Place, threshold: float = 0.0
) -> Suggestion | None:
    """The best suggestion; None if no candidate has a part worth showing.

    Of equally good ones the first is taken.
    """
    best = None
    for candidate in candidates:
        text = trimmed(candidate.text, prefix, suffix, place)
        found = _shown(candidate, text, place.at_line_start, threshold)
        if found and (best is None or found.expected_saving > best.expected_saving):
            best = found
    return best


def typed_characters(text: str, *, at_line_start: bool) -> list[bool]:
    """For each character, whether a person types it: not indentation, and not a line end."""
    typed = []
    in_indentation = at_line_start
    for character in text:
        if character == "\n":
            in_indentation = True
        elif not character.isspace():
            in_indentation = False
        typed.append(not in_indentation)
    return typed


def _shown(
    candidate: Candidate, text: str, at_line_start: bool, threshold: float
) -> Suggestion | None:
    """The part of ``text``, a beginning of the candidate's, whose probability is high enough."""
    typed = [0, *accumulate(typed_characters(text, at_line_start=at_line_start))]
    end = num_typed = 0
    saving, probability = 0.0, 1.0
    for length, at_token_end in candidate.probabilities:
        is_long_enough = num_typed >= MIN_CHARACTERS
        if at_token_end < threshold * (TAIL if is_long_enough else 1):
            break
        border = min(length, len(text))
        is_last = length >= len(candidate.text)
        if not is_border(candidate.text, border) or (is_last and not _ends(candidate)):
            continue
        before, num_typed = num_typed, typed[len(text[:border].rstrip())]
        saving += at_token_end * (num_typed - before - (not end))
        end, probability = border, at_token_end
        if border == len(text):
            break
    if num_typed < MIN_CHARACTERS:
        return None
    return Suggestion(text[:end].rstrip(), probability, candidate.proposer, saving)


def _ends(candidate: Candidate) -> bool:
    """Whether the end of the candidate's text is the end of a word."""
    return candidate.is_whole or not is_word_character(candidate.text[-1:])
