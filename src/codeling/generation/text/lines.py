"""Where a logical line of Python begins and ends, read a character at a time.

Only what decides that is known here: strings, brackets, comments, continuation lines and
indentation ("Lexical analysis" in the language reference). Not covered: quotes of the same kind
nested in an f-string's braces (Python 3.12) that hold a lone bracket. This module must not know
blocks, torch, ids or files.
"""

_HEAD_CHARACTERS = 64
_TAB = 8
"""Columns to a tab stop, as Python counts them."""


class LogicalLine:
    """Python read character by character, as far as logical lines go.

    Strings, brackets, comments and continuation lines are all that decides where a logical line
    begins and ends.
    """

    def __init__(self) -> None:
        self.column = 0
        """Of the first character that is no blank; so far, where there is none yet."""
        self.is_blank = True
        """Nothing but blanks yet."""
        self.code = False
        """A logical line has begun: this is no blank line and no comment alone."""
        self.in_comment = False
        self.head = ""
        """How the logical line begins."""
        self.last = ""
        """Its last character that is neither blank nor within a comment."""
        self._depth = 0
        """Brackets open."""
        self._quote = ""
        """What would end the string we are in; empty outside of one."""
        self._opening = 0
        """How many of a string's first quotes have been read; 0 once one or three is settled."""
        self._closing = 0
        """How many quotes have just been read that may end the string."""
        self._escaped = False
        """The last character was a backslash that keeps the next from its meaning."""

    @property
    def in_prose(self) -> bool:
        """Within a comment or a triple-quoted string."""
        return self.in_comment or len(self._quote) == 3

    @property
    def is_open(self) -> bool:
        """Within a string or brackets: no program ends here."""
        in_string = self._quote and self._opening != 2  # two quotes alone are a whole string
        return bool(in_string or self._depth)

    def feed(self, character: str) -> bool:
        """Read one character; True where it ends the line, logical, blank or comment alone."""
        if self._quote and self._in_string(character):
            return False
        if self.in_comment and character != "\n":
            return False
        self.in_comment = False
        if self._escaped:
            # A backslash keeps the line end of "\r\n" too, so it outlives the "\r".
            self._escaped = character == "\r"
            if character == "\n":
                return False
        if character == "\n":
            return self._depth == 0
        if character in " \t\f\r":
            if self.is_blank:
                self._indent(character)
            elif len(self.head) < _HEAD_CHARACTERS:
                self.head += character
            return False
        if character == "#":
            self.in_comment, self.is_blank = True, False
            return False
        self._begin(character)
        if character == "\\":
            self._escaped = True
        elif character in "\"'":
            self._quote, self._opening = character, 1
        elif character in "([{":
            self._depth += 1
        elif character in ")]}":
            self._depth = max(0, self._depth - 1)
        return False

    def read(self, text: str) -> None:
        """Read ``text``, whose lines are of no interest but for what is open at its end."""
        for character in text:
            if self.feed(character):
                self.restart()

    def restart(self) -> None:
        """Begin the next line, after one that :meth:`feed` said has ended."""
        self.column, self.is_blank, self.code = 0, True, False
        self.head = self.last = ""

    def _begin(self, character: str) -> None:
        self.is_blank, self.code = False, True
        self.last = character
        if len(self.head) < _HEAD_CHARACTERS:
            self.head += character

    def _indent(self, character: str) -> None:
        if character == " ":
            self.column += 1
        elif character == "\t":
            self.column += _TAB - self.column % _TAB
        elif character == "\f":
            self.column = 0

    def _in_string(self, character: str) -> bool:
        """Read one character of a string; False where it turns out to lie behind it."""
        if self._opening:
            if character == self._quote:
                self._opening += 1
                if self._opening == 3:
                    self._quote, self._opening, self._closing = character * 3, 0, 0
                return True
            if self._opening == 2:
                self._quote, self._opening = "", 0
                return False
            self._opening = 0
        if self._escaped:
            self._escaped = character == "\r"
        elif character == "\\":
            self._escaped, self._closing = True, 0
        elif character == self._quote[0]:
            self._closing += 1
            if self._closing == len(self._quote):
                self._quote, self._closing = "", 0
        else:
            self._closing = 0
            if character == "\n" and len(self._quote) == 1:
                self._quote = ""  # never closed: an error, and the line ends
                return False
        return True
