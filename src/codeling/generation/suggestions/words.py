"""Words of the open file that begin with the letters typed, the completion every editor has.

A word is more likely the more often it occurs and the nearer to the cursor. This module must not
know torch, tokens or models.
"""

import re
from collections import defaultdict
from collections.abc import Iterator

from codeling.generation.suggestions.place import is_word_character
from codeling.python_lexer import mask_identifier_marks

_NEAR = 2000
"""Characters after which the weight of an occurrence has halved."""
_UNSEEN = 1.0
"""Weight of all words that do not occur in the file."""


def matching_words(prefix: str, suffix: str, fragment: str) -> list[tuple[str, float]]:
    """Words that begin with ``fragment`` and go beyond it, with their probabilities, best first.

    Equally likely words are in alphabetical order.
    """
    if not fragment:
        return []
    # Without a lookbehind, which would be tried at every character of the file.
    pattern = re.compile(rf"{re.escape(mask_identifier_marks(fragment))}\w+")
    before = prefix[: len(prefix) - len(fragment)]
    weights: defaultdict[str, float] = defaultdict(float)
    for start, end in _spans(pattern, before):
        weights[before[start:end]] += _weight(len(before) - end)
    for start, end in _spans(pattern, suffix):
        weights[suffix[start:end]] += _weight(start)
    total = sum(weights.values()) + _UNSEEN
    ranked = sorted(weights.items(), key=lambda item: (-item[1], item[0]))
    return [(word, weight / total) for word, weight in ranked if word.startswith(fragment)]


def _spans(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    masked = mask_identifier_marks(text)
    for match in pattern.finditer(masked):
        start, end = match.span()
        if not start or not is_word_character(masked[start - 1]):
            yield start, end


def _weight(distance: int) -> float:
    return 1 / (1 + distance / _NEAR)
