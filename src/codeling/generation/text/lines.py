"""Logical lines of Python and their indentation, read one character at a time.

:mod:`codeling.python_lexer` finds strings, brackets and comments. This module adds indentation and
the start and end of lines ("Lexical analysis" in the language reference). It must not know blocks,
torch, ids or files.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from codeling.python_lexer import CODE, COMMENT, LINE_END, QUOTE, Lexer, literals

_HEAD_CHARACTERS = 64
_TAB = 8
"""Columns per tab stop, as in Python."""
_BLANKS = " \t\f\r"
_STRUCTURE = re.compile(r"[()\[\]{}]|(?:\\\r*)?\n")
"""A bracket, a line end, or a line end that a backslash hides."""


class CodeLine(NamedTuple):
    """A logical line with code that has ended; the fields are those of :class:`LogicalLine`."""

    start: int
    """Index of its first character."""
    column: int
    head: str
    last: str


def code_lines(text: str) -> Iterator[CodeLine]:
    """The logical lines with code of ``text``, as :class:`LogicalLine` reads them, but faster."""
    start = position = depth = 0
    parts: list[str] = []
    for begin, end, _ in (*literals(text), (len(text), len(text), False)):
        for match in _STRUCTURE.finditer(text, position, begin):
            if match[0] in "([{":
                depth += 1
            elif match[0] in ")]}":
                depth -= depth > 0
            elif match[0] == "\n" and not depth:
                parts.append(text[position : match.start()])
                code = "".join(parts).replace("\n", "")
                if head := code.lstrip(_BLANKS):
                    column = _indented(0, code[: len(code) - len(head)])
                    yield CodeLine(start, column, head[:_HEAD_CHARACTERS], head.rstrip(_BLANKS)[-1])
                parts = []
                start = position = match.end()
        parts.append(text[position:begin])
        if text[begin : begin + 1] != "#":
            parts.append(text[begin : begin + 1])  # the quote is code, the rest of a string is not
        position = end


def _indented(column: int, blanks: str) -> int:
    """The column after ``blanks`` at ``column``."""
    for blank in blanks:
        if blank == " ":
            column += 1
        elif blank == "\t":
            column += _TAB - column % _TAB
        elif blank == "\f":
            column = 0
    return column


class LogicalLine:
    """The logical line being read, and its open strings and brackets."""

    def __init__(self) -> None:
        self.column = 0
        """Column of the first non-blank character, or of the next character without one."""
        self.is_blank = True
        """Only blanks so far."""
        self.has_code = False
        """The line has code, not only blanks and a comment."""
        self.head = ""
        """First characters of the line's code."""
        self.last = ""
        """Last non-blank character outside comments and strings."""
        self._lexer = Lexer()
        self._feed = self._lexer.feed

    @property
    def in_comment(self) -> bool:
        """Whether the current position is within a comment."""
        return self._lexer.in_comment

    @property
    def in_prose(self) -> bool:
        """Whether the current position is within a comment or a triple-quoted string."""
        return self._lexer.in_comment or self._lexer.in_triple

    @property
    def is_open(self) -> bool:
        """Whether a string or bracket is open; no program can end here."""
        return self._lexer.in_string or self._lexer.depth > 0

    def feed(self, character: str) -> bool:
        """Read one character; True if it ends a logical line, a blank line or a comment line."""
        kind = self._feed(character)
        if kind == CODE:
            if character in _BLANKS:
                if self.is_blank:
                    self.column = _indented(self.column, character)
                elif len(self.head) < _HEAD_CHARACTERS:
                    self.head += character
                return False
        elif kind == LINE_END:
            return True
        elif kind != QUOTE:
            if kind == COMMENT:
                self.is_blank = False
            return False
        self.is_blank, self.has_code = False, True
        self.last = character
        if len(self.head) < _HEAD_CHARACTERS:
            self.head += character
        return False

    def read(self, text: str) -> None:
        """Read all of ``text``."""
        for character in self.significant(text):
            if self.feed(character):
                self.restart()

    def significant(self, text: str) -> Iterator[str]:
        """Yield the characters of ``text`` to :meth:`feed`.

        Characters inside a string or comment that cannot end it are skipped in bulk.
        """
        lexer, position, length = self._lexer, 0, len(text)
        while position < length:
            yield text[position]
            position += 1
            if lexer.quote or lexer.in_comment:
                position = lexer.skip(text, position)

    def restart(self) -> None:
        """Start the next line, after :meth:`feed` has returned True."""
        self.column, self.is_blank, self.has_code = 0, True, False
        self.head = self.last = ""
