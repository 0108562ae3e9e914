"""Where the block that a completion is written into ends: Python read a character at a time.

Only what decides where a logical line begins and ends is known here: strings, brackets,
comments, continuation lines and indentation ("Lexical analysis" in the language reference).
Broken code has an answer too. Not covered: quotes of the same kind nested in an f-string's
braces (Python 3.12) that hold a lone bracket. This module must not know torch, ids or files.
"""

import re
from dataclasses import dataclass
from typing import Literal

_CLAUSES = ("elif", "else", "except", "finally")
_DEFINITION = re.compile(r"(async\s+def|def|class)\b")
_WORD = re.compile(r"\w*")
_HEAD_CHARACTERS = 64
_TAB = 8
"""Columns to a tab stop, as Python counts them."""


@dataclass
class _Block:
    """A block whose first line starts at ``column`` and whose body, once seen, at ``body``."""

    column: int
    kind: Literal["definition", "compound", "statement"]
    body: int | None = None

    @property
    def floor(self) -> int:
        """The smallest column of a line that still belongs to the body."""
        return self.column + 1 if self.body is None else self.body


class _Line:
    """Python read character by character, as far as logical lines go.

    Knows strings, brackets, comments and continuation lines, which is all that decides where
    a logical line begins and ends ("Lexical analysis" in the language reference).
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


class BlockEnd:
    """Text up to the end of the block that ``prompt`` stands in.

    The block is the body of the innermost ``def`` or ``class`` around the end of the prompt,
    or else the outermost compound statement, or else the one statement that the completion
    begins or goes on with. It ends before the first logical line that starts in the completion
    and is indented less than its body. Lines within brackets, strings and continuations start
    nothing; blank lines and comments belong to what follows them, so they are held back until
    a line of the block follows, and dropped if none does. A comment that is indented like the
    block is shown at once.

    What the prompt's indentation leaves open is taken from its end: blanks after the last line
    end, a comment, or two blank lines (PEP 8 puts those between top-level definitions) say
    which column is being written.
    """

    def __init__(self, prompt: str) -> None:
        """Read the prompt; nothing of it is ever cut."""
        self.ended = False
        self._line = _Line()
        self._open: list[_Block] = []
        """Headers whose bodies are not over yet, outermost first."""
        self._block: _Block | None = None
        """The block being completed; None until the line that decides has ended."""
        self._at_clause = False
        """At the first word of a line that goes on with the block if it is one of _CLAUSES."""
        self._after_decorator = False
        self._pending: list[str] = []
        self._read_prompt(prompt)

    def feed(self, text: str) -> str:
        """What may be shown after ``text``; nothing more once :attr:`ended`."""
        shown: list[str] = []
        for character in text:
            if self.ended:
                break
            self._pending.append(character)
            if self._read(character):
                shown += self._pending
                self._pending.clear()
        return "".join(shown)

    def _read_prompt(self, prompt: str) -> None:
        line = self._line
        blank_lines, comment_column = 0, None
        for character in prompt:
            begun = line.code
            ended = line.feed(character)
            if line.code and not begun:
                self._enter_line()
                blank_lines, comment_column = 0, None
            elif line.in_comment and not line.code:
                blank_lines, comment_column = 0, line.column
            if ended:
                if line.code:
                    self._leave_line()
                elif line.is_blank:
                    blank_lines += 1
                line.restart()
        if line.code:
            return  # in the middle of a line, whose end decides
        column = line.column or comment_column
        if column is None and blank_lines >= 2:
            column = 0
        if column is not None:
            self._close(column)
        if self._open and not self._after_decorator:
            self._block = self._around()

    def _read(self, character: str) -> bool:
        """Read a character of the completion; True where it and all before it may be shown."""
        line, block = self._line, self._block
        begun = line.code
        ended = line.feed(character)
        if line.code and not begun:
            if block is None or line.column >= block.floor:
                self._enter_line()
            elif block.kind == "compound" and line.column == block.column:
                self._at_clause = True
            else:
                return self._end()
        if self._at_clause:
            word = _WORD.match(line.head).group()  # type: ignore[union-attr]
            if len(word) == len(line.head) and not ended:
                known = any(clause.startswith(word) for clause in _CLAUSES)
                return False if known else self._end()
            if word not in _CLAUSES:
                return self._end()
            self._at_clause = False
            self._enter_line()
        belongs = line.code or (not line.is_blank and (block is None or line.column >= block.floor))
        if ended:
            if line.code:
                self._leave_line()
                if block is None and not self._after_decorator:
                    self._block = self._around(line)
            line.restart()
        return belongs

    def _end(self) -> bool:
        self.ended = True
        self._pending.clear()
        return False

    def _close(self, column: int) -> None:
        """A line starts at ``column``: the blocks indented deeper are over."""
        while self._open and column < self._open[-1].floor:
            self._open.pop()

    def _enter_line(self) -> None:
        """A logical line has begun."""
        self._close(self._line.column)
        if self._open and self._open[-1].body is None:
            self._open[-1].body = self._line.column

    def _leave_line(self) -> None:
        """A logical line has ended."""
        line = self._line
        if line.last == ":":
            self._open.append(_Block(line.column, _kind(line)))
        self._after_decorator = line.head.startswith("@")

    def _around(self, line: _Line | None = None) -> _Block:
        """The block that is being completed, after ``line`` where that line has just ended."""
        if line is not None and _kind(line) == "definition":
            own = self._open and line.last == ":"
            return self._open[-1] if own else _Block(line.column, "definition")
        for block in reversed(self._open):
            if block.kind == "definition":
                return block
        if self._open:
            return self._open[0]
        assert line is not None, "at a line's start with no block open there is nothing to end"
        return _Block(line.column, "statement")


def _kind(line: _Line) -> Literal["definition", "compound"]:
    return "definition" if _DEFINITION.match(line.head) else "compound"


def cut_unfinished(prompt: str, completion: str) -> str:
    """``completion`` up to where its last whole logical line ends; for one that ran out of tokens.

    A line within open brackets or an open string is not whole, nor is a header (``if x:``) whose
    body has not begun.
    """
    line, end = _Line(), 0
    for position, character in enumerate(prompt + completion, 1 - len(prompt)):
        if line.feed(character):
            if position > 0 and line.last != ":":
                end = position
            line.restart()
    return completion[:end]


def cut_at_block_end(prompt: str, completion: str) -> str:
    """The part of ``completion`` that belongs to the block that ``prompt`` stands in."""
    return BlockEnd(prompt).feed(completion)
