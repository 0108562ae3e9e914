"""The kind of each character of a file: name, keyword, string, repeated line and so on.

Two classifications, each of all characters. By word: ``keywords``, ``calls`` (names before an
opening bracket), ``names``, ``strings``, ``comments``, and ``punctuation`` (operators, brackets,
numbers and spaces). By line: ``repeated lines``, which occur above, possibly with another
indentation, and ``new lines``. This module must not know suggestions.
"""

import keyword
import re

from codeling.python_lexer import literals, mask_identifier_marks

WORD_KINDS = ("names", "calls", "keywords", "strings", "comments", "punctuation")
LINE_KINDS = ("new lines", "repeated lines")

_WORD = re.compile(r"(?<![\w])[^\W\d]\w*")
_CALL = re.compile(r"\s*\(")


def word_kinds(text: str) -> list[str]:
    """One of :data:`WORD_KINDS` for each character."""
    kinds = ["punctuation"] * len(text)
    masked = mask_identifier_marks(text)
    for match in _WORD.finditer(masked):
        begin, end = match.span()
        kind = "calls" if _CALL.match(text, end) else "names"
        if keyword.iskeyword(text[begin:end]):
            kind = "keywords"
        kinds[begin:end] = [kind] * (end - begin)
    for begin, end, _ in literals(text):
        kind = "comments" if text[begin] == "#" else "strings"
        kinds[begin:end] = [kind] * (end - begin)
    return kinds


def line_kinds(text: str) -> list[str]:
    """One of :data:`LINE_KINDS` for each character, line ends included."""
    kinds: list[str] = []
    above: set[str] = set()
    for line in text.splitlines(keepends=True):
        stripped = line.strip()
        kinds += [LINE_KINDS[stripped in above]] * len(line)
        above.add(stripped)
    return kinds
