"""How near a completion is to what stood there: edits, and the names in it. Text only.

Edit similarity is 1 - Levenshtein distance / length of the longer (Levenshtein 1966); identifiers
are compared as in CrossCodeEval (Ding et al. 2023): names outside of strings and comments, without
keywords.
"""

import keyword
import re
from collections import Counter

from rapidfuzz.distance import Levenshtein

from codeling.python_lexer import literals, mask_identifier_marks, prefix_start

_NAME = re.compile(r"(?<![\w.])\d\w*|[^\W\d]\w*")


def edit_distance(one: str, two: str) -> int:
    """Characters to insert, delete or replace to make ``two`` of ``one``."""
    return Levenshtein.distance(one, two)


def edit_similarity(one: str, two: str) -> float:
    """1 where both are equal, 0 where they have nothing in common."""
    longest = max(len(one), len(two))
    return 1.0 - edit_distance(one, two) / longest if longest else 1.0


def identifiers(code: str) -> list[str]:
    """The names in a piece of code, in order; it need not parse."""
    bare = _without_literals(code)
    words = [bare[slice(*match.span())] for match in _NAME.finditer(mask_identifier_marks(bare))]
    return [word for word in words if not word[0].isdecimal() and not keyword.iskeyword(word)]


def _without_literals(code: str) -> str:
    pieces, done = [], 0
    for start, end, _ in literals(code):
        pieces.append(code[done : prefix_start(code, start)])
        done = end
    return " ".join([*pieces, code[done:]])


def identifier_f1(written: str, wanted: str) -> float:
    """Harmonic mean of precision and recall of the names, each as often as it stands there."""
    ours, theirs = Counter(identifiers(written)), Counter(identifiers(wanted))
    if not ours or not theirs:
        return float(ours == theirs)
    return 2 * (ours & theirs).total() / (ours.total() + theirs.total())
