"""Where the block that a completion is written into ends: Python read a character at a time.

Logical lines and their indentation (:mod:`codeling.generation.text.lines`) decide, so broken code
has
an answer too. This module must not know torch, ids or files.
"""

import re
from dataclasses import dataclass
from typing import Literal

from codeling.generation.text.lines import LogicalLine

_CLAUSES = ("elif", "else", "except", "finally")
_DEFINITION = re.compile(r"(async\s+def|def|class)\b")
_WORD = re.compile(r"\w*")


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
        self._line = LogicalLine()
        self._open: list[_Block] = []
        """Headers whose bodies are not over yet, outermost first."""
        self._block: _Block | None = None
        """The block being completed; None until the line that decides has ended."""
        self._at_clause = False
        """At the first word of a line that goes on with the block if it is one of _CLAUSES."""
        self._after_decorator = False
        self._pending: list[str] = []
        self._read_prompt(prompt)

    @property
    def in_definition(self) -> bool:
        """Whether the block, as far as it is known, is the body of a ``def`` or ``class``."""
        if self._block is None:
            return any(block.kind == "definition" for block in self._open)
        return self._block.kind == "definition"

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
        for character in line.significant(prompt):
            begun = line.has_code
            ended = line.feed(character)
            if line.has_code and not begun:
                self._enter_line()
                blank_lines, comment_column = 0, None
            elif not line.has_code and line.in_comment:
                blank_lines, comment_column = 0, line.column
            if ended:
                if line.has_code:
                    self._leave_line()
                elif line.is_blank:
                    blank_lines += 1
                line.restart()
        if line.has_code:
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
        begun = line.has_code
        ended = line.feed(character)
        if line.has_code and not begun:
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
        is_within = block is None or line.column >= block.floor
        belongs = line.has_code or (is_within and not line.is_blank)
        if ended:
            if line.has_code:
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

    def _around(self, line: LogicalLine | None = None) -> _Block:
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


def _kind(line: LogicalLine) -> Literal["definition", "compound"]:
    return "definition" if _DEFINITION.match(line.head) else "compound"


def cut_unfinished(prompt: str, completion: str) -> str:
    """``completion`` up to where its last whole logical line ends; for one that ran out of tokens.

    A line within open brackets or an open string is not whole, nor is a header (``if x:``) whose
    body has not begun.
    """
    line, end = LogicalLine(), 0
    for position, character in enumerate(prompt + completion, 1 - len(prompt)):
        if line.feed(character):
            if position > 0 and line.last != ":":
                end = position
            line.restart()
    return completion[:end]


def cut_at_block_end(prompt: str, completion: str) -> str:
    """The part of ``completion`` that belongs to the block that ``prompt`` stands in."""
    return BlockEnd(prompt).feed(completion)


def stands_in_definition(prompt: str) -> bool:
    """Whether what comes after ``prompt`` is written into a ``def`` or ``class``."""
    return BlockEnd(prompt).in_definition
