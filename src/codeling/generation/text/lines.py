"""Logical lines of Python and their indentation, read one character at a time.

Strings, brackets and comments are those of :mod:`codeling.python_lexer`; this module adds the
indentation and how a line begins and ends ("Lexical analysis" in the language reference). It must
not know blocks, torch, ids or files.
"""

from collections.abc import Iterator

from codeling.python_lexer import CODE, COMMENT, LINE_END, QUOTE, Lexer

_HEAD_CHARACTERS = 64
_TAB = 8
"""Columns to a tab stop, as Python counts them."""


class LogicalLine:
    """The logical line being read, and what is open in it."""

    def __init__(self) -> None:
        self.column = 0
        """Column of the first character that is not blank, or of the next one if all are."""
        self.is_blank = True
        """No character but blanks so far."""
        self.has_code = False
        """The line is neither blank nor a comment alone."""
        self.head = ""
        """The first characters of the line's code."""
        self.last = ""
        """Its last character that is neither blank nor within a comment or string."""
        self._lexer = Lexer()
        self._feed = self._lexer.feed

    @property
    def in_comment(self) -> bool:
        """Within a comment."""
        return self._lexer.in_comment

    @property
    def in_prose(self) -> bool:
        """Within a comment or a triple-quoted string."""
        return self._lexer.in_comment or self._lexer.in_triple

    @property
    def is_open(self) -> bool:
        """Within a string or brackets: no program ends here."""
        return self._lexer.in_string or self._lexer.depth > 0

    def feed(self, character: str) -> bool:
        """Read one character; True if it ends the line, be it logical, blank or a comment."""
        kind = self._feed(character)
        if kind == CODE:
            if character in " \t\f\r":
                if self.is_blank:
                    self._indent(character)
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
        """Read all of ``text``, for what is open at its end."""
        for character in self.significant(text):
            if self.feed(character):
                self.restart()

    def significant(self, text: str) -> Iterator[str]:
        """The characters of ``text`` to :meth:`feed`, one after the other.

        Those within a string or comment that end nothing are read here, many at a time.
        """
        lexer, position, length = self._lexer, 0, len(text)
        while position < length:
            yield text[position]
            position += 1
            if lexer.quote or lexer.in_comment:
                position = lexer.skip(text, position)

    def restart(self) -> None:
        """Begin the next line, after :meth:`feed` has returned True."""
        self.column, self.is_blank, self.has_code = 0, True, False
        self.head = self.last = ""

    def _indent(self, character: str) -> None:
        if character == " ":
            self.column += 1
        elif character == "\t":
            self.column += _TAB - self.column % _TAB
        elif character == "\f":
            self.column = 0
