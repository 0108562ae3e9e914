"""The cursor's place: whether an editor asks for a suggestion there, and how far it may reach.

A suggestion reaches to the end of the line. On an empty line inside an indented block it reaches to
the end of the block, and after the colon of a header (``if x:``) to the end of its block. Nothing
is suggested within a word that continues after the cursor, or in the indentation of a line that has
text.

Only the last lines before the cursor are read, so the cost does not grow with the file. This module
must not know torch, tokens or models.
"""

import re
from typing import Literal, NamedTuple

from codeling.python_lexer import Lexer, literals, mask_identifier_marks

Reach = Literal["line", "block"]

MIN_LETTERS = 2
"""Letters of a word after which an editor asks for its end."""
_OPENERS = frozenset(".([{=,:+-*/%<>|&^~@!#\"'")
"""Characters that begin something new."""
_MAX_LOOK_BACK = 16_384
"""Characters read before the cursor, at most, to find the statement that it is in."""
_TOP_LEVEL = re.compile(r"[^\s)\]}#\"'\\]")
"""The beginning of a line that is not indented and does not continue brackets or a docstring."""
_MAX_LOOK_AHEAD = 1024
"""Characters after the cursor in which the body of a header is looked for."""
_HEADER = re.compile(
    r"(async|case|class|def|elif|else|except|finally|for|if|match|try|while|with)\b"
)
_STRUCTURE = re.compile(r"[()\[\]{}\n]")
_WORD_END = re.compile(r"\w*\Z")


class Place(NamedTuple):
    """The suggestions that the text around a cursor allows."""

    fragment: str
    """The letters of the unfinished word before the cursor."""
    at_line_start: bool
    """Only white space precedes the cursor on its line."""
    reach: Reach
    indentation: str
    """White space at the beginning of the cursor's line."""
    lexer: Lexer
    """Has read the statement before the cursor. A reader must work on a copy."""
    after_header: bool = False
    """A block begins: its lines are indented more than :attr:`indentation`, the header's."""

    @property
    def in_literal(self) -> bool:
        """Within a string or a comment."""
        return self.lexer.in_string or self.lexer.in_comment


def find_place(prefix: str, suffix: str = "") -> Place | None:
    """The place between ``prefix`` and ``suffix``; None where nothing may be suggested."""
    line = prefix[prefix.rfind("\n") + 1 :]
    rest = suffix.partition("\n")[0]
    at_line_start = not line.strip()
    if rest[:1].isidentifier() or rest[:1].isdigit():
        return None
    if at_line_start and rest.strip():
        return None
    lexer = lexer_at(prefix)
    place = Place(last_word(line), at_line_start, "line", indentation_of(line), lexer)
    if lexer.depth or place.in_literal or rest.strip():
        return place
    header = _header_before(prefix)
    if header is not None and len(indentation_of(header)) >= len(place.indentation):
        indentation = indentation_of(header)
        if _has_body(suffix, indentation):
            return place
        return place._replace(reach="block", indentation=indentation, after_header=True)
    return place._replace(reach="block") if at_line_start and place.indentation else place


def indentation_of(line: str) -> str:
    """White space at the beginning of ``line``."""
    return line[: len(line) - len(line.lstrip())]


def _header_before(prefix: str) -> str | None:
    """The statement that ends ``prefix`` with a colon and begins a block; None without one."""
    before = prefix.rstrip()
    if not before.endswith(":"):
        return None
    begin = statement_start(before)
    lexer = _read(before[begin:])
    if lexer.depth or lexer.in_string or lexer.in_comment:
        return None
    return before[begin:] if _HEADER.match(before[begin:].lstrip()) else None


def _has_body(suffix: str, indentation: str) -> bool:
    """Whether the first line of ``suffix`` with text is indented more than a header."""
    for line in suffix[:_MAX_LOOK_AHEAD].split("\n")[1:]:
        if line.strip():
            return len(indentation_of(line)) > len(indentation)
    return False


def asks_at(prefix: str, min_letters: int = MIN_LETTERS) -> bool:
    """Whether an editor asks for a suggestion after the last character of ``prefix``.

    That is on a new line, after an opening bracket, an operator, a comma, a dot, a quote or the
    space after a word, and within a word after ``min_letters`` of it.
    """
    line = prefix[prefix.rfind("\n") + 1 :]
    if not line.strip():
        return True
    fragment = last_word(line)
    if fragment:
        return len(fragment) >= min_letters
    last, before = line[-1], line[-2:-1]
    return last in _OPENERS or (last in " \t" and not before.isspace())


def last_word(line: str) -> str:
    """The letters and digits at the end of ``line``, empty if they are a number."""
    found = _WORD_END.search(mask_identifier_marks(line))
    word = line[found.start() :] if found else ""
    return word if word.isidentifier() else ""


def is_border(text: str, position: int) -> bool:
    """Whether no word continues across ``position`` in ``text``."""
    if not 0 < position < len(text):
        return True
    return not (is_word_character(text[position - 1]) and is_word_character(text[position]))


def is_word_character(character: str) -> bool:
    """Whether ``character`` may be part of a word; combining marks may."""
    return character == "_" or character.isalnum() or f"a{character}".isidentifier()


def lexer_at(prefix: str) -> Lexer:
    """A lexer that has read the statement before the cursor."""
    return _read(prefix[statement_start(prefix) :])


def _read(text: str) -> Lexer:
    lexer, position = Lexer(), 0
    while position < len(text):
        lexer.feed(text[position])
        position = lexer.skip(text, position + 1)
    return lexer


def statement_start(prefix: str) -> int:
    """Index of the last line that begins outside of strings and brackets."""
    first = start_of_look_back(prefix)
    text = prefix[first:]
    start = depth = position = 0
    for begin, end, _ in (*literals(text), (len(text), len(text), False)):
        for match in _STRUCTURE.finditer(text, position, begin):
            if match[0] == "\n":
                start = start if depth else match.end()
            elif match[0] in "([{":
                depth += 1
            elif depth:
                depth -= 1
        position = end
    return first + start


def start_of_look_back(prefix: str) -> int:
    """Index of the last line of ``prefix`` that is not indented and may begin a statement."""
    low = max(0, len(prefix) - _MAX_LOOK_BACK)
    position = len(prefix)
    while position > low:
        begin = max(low, prefix.rfind("\n", low, position - 1) + 1)
        if _TOP_LEVEL.match(prefix, begin) and begin < len(prefix):
            return begin
        if begin <= low:
            break
        position = begin
    return low
