"""How near a completion is to what stood there: edits, and the names in it. Text only.

Edit similarity is 1 - Levenshtein distance / length of the longer (Levenshtein 1966); identifiers
are compared as in CrossCodeEval (Ding et al. 2023): names outside of strings and comments, without
keywords.
"""

import keyword
import re
from collections import Counter

import numpy as np

_NOT_NAMES = re.compile(
    r"#[^\n]*|[rRbBuUfFtT]{0,2}(?:'''.*?(?:'''|\Z)|\"\"\".*?(?:\"\"\"|\Z)"
    r"|'(?:\\.|[^'\\\n])*'?|\"(?:\\.|[^\"\\\n])*\"?)",
    re.DOTALL,
)
_NAME = re.compile(r"(?<![\w.])\d\w*|[^\W\d]\w*")


def edit_distance(one: str, two: str) -> int:
    """Characters to insert, delete or replace to make ``two`` of ``one``."""
    if not one or not two:
        return max(len(one), len(two))
    other = np.frombuffer(two.encode("utf-32-le", "surrogatepass"), np.uint32)
    columns = np.arange(len(two) + 1)
    row = columns.copy()
    for number, character in enumerate(one, start=1):
        following = np.empty_like(row)
        following[0] = number
        following[1:] = np.minimum(row[1:] + 1, row[:-1] + (other != ord(character)))
        # An insertion costs one a column, so the least of all to the left decides.
        row = np.minimum.accumulate(following - columns) + columns
    return int(row[-1])


def edit_similarity(one: str, two: str) -> float:
    """1 where both are equal, 0 where they have nothing in common."""
    longest = max(len(one), len(two))
    return 1.0 - edit_distance(one, two) / longest if longest else 1.0


def identifiers(code: str) -> list[str]:
    """The names in a piece of code, in order; it need not parse."""
    words = _NAME.findall(_NOT_NAMES.sub(" ", code))
    return [word for word in words if not word[0].isdecimal() and not keyword.iskeyword(word)]


def identifier_f1(written: str, wanted: str) -> float:
    """Harmonic mean of precision and recall of the names, each as often as it stands there."""
    ours, theirs = Counter(identifiers(written)), Counter(identifiers(wanted))
    if not ours or not theirs:
        return float(ours == theirs)
    return 2 * (ours & theirs).total() / (ours.total() + theirs.total())
