"""Strings, comments and brackets of Python source, of any version, broken or unfinished.

Two interfaces give the same answers. :class:`Lexer` reads one character at a time, for text that
is still being written. :func:`literals`, :func:`literal_parts` and :func:`replace_literals` read
whole texts: one regular expression finds what is simple, and a Lexer reads the formatted strings
that it cannot.

Formatted strings follow PEP 701 (Python 3.12): a replacement field is code and may contain the same
quotes, comments, line ends and further formatted strings; a format specification is text and may
contain further fields. Template strings (PEP 750) are read in the same way. Text that older
versions accept is read as they read it.

Errors end as early as they can. A string in single quotes that is not closed ends with its line;
one in triple quotes ends with the text. A replacement field with a stray closing bracket, or with
a string that is not closed, ends there, and the formatted string continues with its text.

This module imports nothing of the package and only the standard library.
"""

import copy
import re
from collections.abc import Callable, Iterator
from typing import Final

CODE: Final = 0
"""A character outside of strings and comments, white space included."""
QUOTE: Final = 1
"""The first character of a string that begins in code."""
STRING: Final = 2
"""A further character of a string, quotes and braces of replacement fields included."""
COMMENT: Final = 3
FIELD: Final = 4
"""Code in a replacement field of a formatted string."""
JOINT: Final = 5
"""A line end within brackets, or after a backslash, which does not end a logical line."""
LINE_END: Final = 6
"""A line end that ends a logical line, a blank line or a line with nothing but a comment."""

_FORMATTED_PREFIXES = frozenset(("f", "fr", "rf", "t", "tr", "rt"))
_LONGER_THAN_PREFIXES = 3
_SPECIAL = frozenset("\"'#\\\n()[]{}:")

_STRING_SPECIAL = frozenset("\"'\\\n{}")
_WITHIN = re.compile(r"[^\"'\\\n{}]*")

# States of a Lexer within a string, and one outside.
_PLAIN, _OPENED_ONE, _OPENED_TWO, _ESCAPED, _ESCAPED_RETURN, _NAMED, _BRACE = range(7)


class Lexer:
    """Python read one character at a time.

    What :meth:`feed` returns for a character depends on the characters before it alone, so it
    does not matter how a text is cut into pieces.
    """

    __slots__ = (
        "_closing",
        "_fields",
        "_in_name",
        "_in_spec",
        "_is_escaped",
        "_is_formatted",
        "_is_raw",
        "_state",
        "_word",
        "depth",
        "in_comment",
        "quote",
    )  # fmt: skip

    def __init__(self) -> None:
        self.depth = 0
        """Brackets open, those in the replacement field alone if the text is in one."""
        self.in_comment = False
        self.quote = ""
        """The quotes that would end the string whose text is being read; empty outside of one."""
        self._state = _PLAIN
        self._closing = 0
        """Number of quotes just read that may end the string."""
        self._is_formatted = self._is_raw = False
        self._in_spec = False
        """In a format specification, not in the text of a formatted string."""
        self._in_name = False
        r"""After ``\N{``, whose closing brace ends no replacement field."""
        self._fields: list[tuple[str, bool, bool, int]] = []
        """Replacement fields that are open, outermost first: the string's quote, whether it is
        raw, whether the field is in a format specification, brackets open before it."""
        self._is_escaped = False
        """In code, after a backslash that continues the line."""
        self._word = ""
        """First letters and digits of the word before the next character: maybe a prefix."""

    def copy(self) -> "Lexer":
        """A lexer in the same state, to read ahead."""
        other = copy.copy(self)
        other._fields = list(self._fields)
        return other

    @property
    def in_string(self) -> bool:
        """Within a string, in a replacement field too. Two quotes alone are a whole string."""
        return bool(self._fields or (self.quote and self._state != _OPENED_TWO))

    @property
    def is_within(self) -> bool:
        """Whether the next character may still belong to the string read last."""
        return bool(self.quote or self._fields)

    @property
    def in_triple(self) -> bool:
        """In the text of a triple-quoted string."""
        return len(self.quote) == 3

    def feed(self, character: str) -> int:
        """Read one character and return its kind, one of the constants of this module."""
        if self.quote:
            if not self._state and character not in _STRING_SPECIAL:
                self._closing = 0
                return STRING
            kind = self._feed_string(character)
            if kind:
                return kind
        if self.in_comment:
            if character != "\n":
                return COMMENT
            self.in_comment = False
        if character not in _SPECIAL:
            if self._is_escaped:
                self._is_escaped = character == "\r"  # "\r\n" is one line end
            if not character.isalnum() and character != "_":
                self._word = ""
            elif len(self._word) < _LONGER_THAN_PREFIXES:
                self._word += character
            return FIELD if self._fields else CODE
        return self._feed_special(character)

    def skip(self, text: str, position: int) -> int:
        """Skip characters of a string or comment that cannot end it; return the next position."""
        if self.in_comment:
            end = text.find("\n", position)
            return len(text) if end < 0 else end
        if self._state or not self.quote:
            return position
        end = _WITHIN.match(text, position).end()  # type: ignore[union-attr]
        if end > position:
            self._closing = 0
        return end

    def _feed_special(self, character: str) -> int:
        prefix, self._word = self._word, ""
        was_escaped, self._is_escaped = self._is_escaped, False
        if character == "\n":
            return JOINT if was_escaped or self.depth or self._fields else LINE_END
        if character == "#":
            self.in_comment = True
            return COMMENT
        if character in "\"'":
            self.quote, self._state, self._closing = character, _OPENED_ONE, 0
            prefix = prefix.lower()
            self._is_formatted = prefix in _FORMATTED_PREFIXES
            self._is_raw = "r" in prefix
            self._in_spec = self._in_name = False
            return STRING if self._fields else QUOTE
        if character == "\\":
            self._is_escaped = True
        elif character in "([{":
            self.depth += 1
        elif self.depth and character != ":":
            self.depth -= 1
        elif self._fields and not self.depth:
            self._leave_code(character)
            return STRING
        return FIELD if self._fields else CODE

    def _leave_code(self, character: str) -> None:
        """Return to the string around a field: at ``:``, at its end, or at a stray bracket."""
        self.quote, self._is_raw, self._in_spec, depth = self._fields[-1]
        if character == ":":
            self._in_spec = True
        else:
            self._fields.pop()
            self.depth = depth
        self._is_formatted, self._in_name = True, False
        self._state, self._closing = _PLAIN, 0

    def _feed_string(self, character: str) -> int:
        """Read a character of a string; 0 if the string has ended before it."""
        state = self._state
        if state:
            self._state = _PLAIN
            if state == _OPENED_ONE and character == self.quote:
                self._state = _OPENED_TWO
                return STRING
            if state == _OPENED_TWO:
                if character != self.quote:
                    self.quote = ""
                    return 0
                self.quote *= 3
                return STRING
            if state == _BRACE:
                if character == "{":
                    return STRING
                return self._enter_field()
            if state == _ESCAPED:
                if not self._is_formatted or character not in "{}":
                    if character == "\r":
                        self._state = _ESCAPED_RETURN
                    elif character == "N" and self._is_formatted and not self._is_raw:
                        self._state = _NAMED
                    return STRING
            elif state == _ESCAPED_RETURN and character == "\n":
                return STRING
            elif state == _NAMED and character == "{":
                self._in_name = True
                return STRING
        quote = self.quote
        if character == quote[0]:
            self._closing += 1
            if self._closing == len(quote):
                self._end_string()
            return STRING
        self._closing = 0
        if character == "\\":
            self._state = _ESCAPED
        elif character == "\n" and len(quote) == 1:
            return self._break_string()
        elif self._is_formatted:
            if character == "{":
                if self._in_spec:
                    self._enter_field()
                else:
                    self._state = _BRACE
            elif character == "}":
                if self._in_name:
                    self._in_name = False
                elif self._in_spec:
                    self._leave_code(character)
        return STRING

    def _enter_field(self) -> int:
        self._fields.append((self.quote, self._is_raw, self._in_spec, self.depth))
        self.quote, self.depth = "", 0
        return 0

    def _end_string(self) -> None:
        while self._in_spec:  # its fields end with it
            _, _, self._in_spec, self.depth = self._fields.pop()
        self.quote = ""

    def _break_string(self) -> int:
        """A line end within single quotes; 0 if the line end is now in code."""
        if self._in_spec:  # the specification ends, its field does not
            self.quote = ""
            return 0
        self.quote = ""
        if not self._fields:
            return 0
        self._leave_code("\n")
        return self._feed_string("\n")


_TEXT_FIELD = r"[^\"'#\\\n{}()\[\]]*(?:[(\[][^\"'#\\\n{}()\[\]]*[)\]][^\"'#\\\n{}()\[\]]*)*"
_SIMPLE_FIELD = rf"\{{{_TEXT_FIELD}(?:\{{{_TEXT_FIELD}\}}{_TEXT_FIELD})*\}}"
_LITERAL = re.compile(
    rf"""
    ["'\#] (?:
        (?<=\#) [^\n]*
      | (?: (?<=\b[fFtT]["']) | (?<=\b[fFtT][rR]["']) | (?<=\b[rR][fFtT]["']) ) (?:
            (?P<formatted>) (?:
                (?<=") ""[^"\\{{]*(?:(?:\\[^N{{}}]|"(?!"")|\{{\{{|{_SIMPLE_FIELD})[^"\\{{]*)*\"{{3}}
              | (?<=") (?!"") [^"\\\n{{]*(?:(?:\\[^N\r{{}}]|\{{\{{|{_SIMPLE_FIELD})[^"\\\n{{]*)*"
              | (?<=') ''[^'\\{{]*(?:(?:\\[^N{{}}]|'(?!'')|\{{\{{|{_SIMPLE_FIELD})[^'\\{{]*)*'{{3}}
              | (?<=') (?!'') [^'\\\n{{]*(?:(?:\\[^N\r{{}}]|\{{\{{|{_SIMPLE_FIELD})[^'\\\n{{]*)*'
            )
          | (?P<unfinished>)
        )
      | (?<=") (?:
            ""[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*(?:\"{{3}}|\\?\Z)
          | [^"\\\n]*(?:\\(?:\r\n|.)[^"\\\n]*)*(?:"|\\\Z)?
        )
      | (?<=') (?:
            ''[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*(?:'{{3}}|\\?\Z)
          | [^'\\\n]*(?:\\(?:\r\n|.)[^'\\\n]*)*(?:'|\\\Z)?
        )
    )
    """,
    re.VERBOSE | re.DOTALL,
)
"""A comment or a string without its prefix. It begins with a set of three characters, which the
engine looks for fast. Of formatted strings it takes those whose fields hold no quotes, ``#``,
backslashes, line ends or nested brackets; of others only the first quote, as ``unfinished``."""
_PREFIX = re.compile(r"(?<!\w)(?:[bBfFtT][rR]?|[rR][bBfFtT]?|[uU])\Z")


def literals(text: str) -> Iterator[tuple[int, int, bool]]:
    """Every string, without its prefix, and comment: start, end, whether it is formatted.

    A formatted string is one literal with all that its replacement fields hold.
    """
    position = 0
    while position >= 0:
        start, position = position, -1
        for match in _LITERAL.finditer(text, start):
            group = match.lastgroup
            if group != "unfinished":
                yield match.start(), match.end(), group is not None
                continue
            start = match.start()
            lexer, position = _formatted_lexer(text, start), start + 1
            while position < len(text):
                kind = lexer.feed(text[position])
                if kind == QUOTE or not lexer.is_within:
                    position += kind == STRING
                    break
                position += 1
            yield start, position, True
            break


def literal_parts(text: str) -> list[tuple[int, int]]:
    """Spans of ``text`` that are strings or comments, without the code in replacement fields.

    Strings in that code are spans of their own.
    """
    parts: list[tuple[int, int]] = []
    for start, end, is_formatted in literals(text):
        if not is_formatted or "{" not in text[start:end]:
            parts.append((start, end))
            continue
        lexer, part = _formatted_lexer(text, start), start
        for position in range(start + 1, end):
            is_code = lexer.feed(text[position]) in (FIELD, JOINT)
            if is_code and part >= 0:
                parts.append((part, position))
                part = -1
            elif not is_code and part < 0:
                part = position
        if part >= 0:
            parts.append((part, end))
    return parts


def replace_literals(text: str, replacement: Callable[[str], str]) -> str:
    """``text`` with each of its :func:`literals` replaced by what ``replacement`` makes of it."""
    pieces: list[str] = []
    done = 0
    for start, end, _ in literals(text):
        pieces += (text[done:start], replacement(text[start:end]))
        done = end
    pieces.append(text[done:])
    return "".join(pieces)


def prefix_start(text: str, start: int) -> int:
    """Start of the prefix of the string at ``start``; ``start`` if it has none."""
    prefix = _PREFIX.search(text, max(0, start - 3), start)
    return prefix.start() if prefix else start


def is_triple(literal: str) -> bool:
    """Whether one of :func:`literals` is a triple-quoted string."""
    return literal.startswith(('"""', "'''"))


def mask_identifier_marks(text: str) -> str:
    r"""``text`` with a letter for each character of identifiers that ``\w`` does not match.

    Identifiers are made of XID_Continue characters (UAX 31), among them combining marks. The
    result has the same length, so that spans found in it are spans of ``text``.
    """
    if text.isascii():
        return text
    marks = {mark for mark in _NOT_WORD.findall(text) if f"a{mark}".isidentifier()}
    return text.translate(dict.fromkeys(map(ord, marks), "x")) if marks else text


_NOT_WORD = re.compile(r"[^\w\x00-\x7f]")


def _formatted_lexer(text: str, start: int) -> Lexer:
    """A Lexer that has read the prefix and the first quote, at ``start``, of a string."""
    lexer = Lexer()
    for character in text[prefix_start(text, start) : start + 1]:
        lexer.feed(character)
    return lexer
