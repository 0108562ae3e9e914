"""Similarity of a completion and the reference: edit similarity and F1 of identifiers.

Edit similarity is 1 - Levenshtein distance / length of the longer text (Levenshtein 1966).
Identifiers are compared as in CrossCodeEval (Ding et al. 2023): names outside strings and comments,
without keywords.
"""

import keyword
import re
from collections import Counter

from rapidfuzz.distance import Levenshtein

from codeling.python_lexer import literals, mask_identifier_marks, prefix_start

_NAME = re.compile(r"(?<![\w.])\d\w*|[^\W\d]\w*")


def edit_distance(first: str, second: str) -> int:
    """Levenshtein distance, in characters."""
    return Levenshtein.distance(first, second)


def edit_similarity(first: str, second: str) -> float:
    """Edit similarity in [0, 1]; 1.0 if both texts are equal."""
    longest = max(len(first), len(second))
    return 1.0 - edit_distance(first, second) / longest if longest else 1.0


def identifiers(code: str) -> list[str]:
    """Names in ``code``, in order. The code need not parse."""
    bare = _without_literals(code)
    words = [bare[slice(*match.span())] for match in _NAME.finditer(mask_identifier_marks(bare))]
    return [word for word in words if not word[0].isdecimal() and not keyword.iskeyword(word)]


def _without_literals(code: str) -> str:
    pieces, done = [], 0
    for start, end, _ in literals(code):
        pieces.append(code[done : prefix_start(code, start)])
        done = end
    return " ".join([*pieces, code[done:]])


def identifier_f1(completion: str, reference: str) -> float:
    """F1 of the names as multisets: harmonic mean of precision and recall."""
    predicted, expected = Counter(identifiers(completion)), Counter(identifiers(reference))
    if not predicted or not expected:
        return float(predicted == expected)
    return 2 * (predicted & expected).total() / (predicted.total() + expected.total())
