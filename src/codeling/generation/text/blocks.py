"""End of the code block that a completion belongs to. Reads Python one character at a time.

The rule uses logical lines and their indentation (:mod:`codeling.generation.text.lines`), so it
works for code that does not parse. This module must not know torch, ids or files.
"""

import re
from dataclasses import dataclass
from typing import Literal

from codeling.generation.text.lines import LogicalLine, code_lines

_CLAUSES = ("elif", "else", "except", "finally")
_DEFINITION = re.compile(r"(async\s+def|def|class)\b")
_WORD = re.compile(r"\w*")


@dataclass
class _Block:
    column: int
    """Column of the header."""
    kind: Literal["definition", "compound", "statement"]
    body: int | None = None
    """Column of the body; None before its first line."""

    @property
    def min_column(self) -> int:
        """Smallest column of a line that belongs to the body."""
        return self.column + 1 if self.body is None else self.body


class BlockEnd:
    """Passes text through up to the end of the block around the end of ``prompt``.

    The block is the body of the innermost ``def`` or ``class`` around the end of the prompt.
    Without one, it is the outermost compound statement; without that, the one statement that the
    completion starts or continues. The block ends before the first logical line that starts in the
    completion and is indented less than the body. Physical lines within brackets, strings and
    continuations are not logical lines. Blank lines and comments belong to the line after them:
    they are held back until a line of the block follows, and dropped if none does. A comment
    indented like the block is passed at once.

    If the prompt's last logical line does not determine the current column, the end of the prompt
    does: whitespace after the last line end, a comment, or two blank lines (PEP 8 puts two between
    top-level definitions).
    """

    def __init__(self, prompt: str) -> None:
        """Read the prompt, which is never cut."""
        self.ended = False
        self._line = LogicalLine()
        self._open_blocks: list[_Block] = []
        """Blocks that have not ended, outermost first."""
        self._block: _Block | None = None
        """The block being completed; None until the line that determines it has ended."""
        self._at_clause = False
        """In the first word of a line that continues the block if it is one of _CLAUSES."""
        self._after_decorator = False
        self._pending: list[str] = []
        self._read_prompt(prompt)

    @property
    def in_definition(self) -> bool:
        """Whether the block, as known so far, is the body of a ``def`` or ``class``."""
        if self._block is None:
            return any(block.kind == "definition" for block in self._open_blocks)
        return self._block.kind == "definition"

    def feed(self, text: str) -> str:
        """Add ``text``; return the text that is now certain, empty once :attr:`ended`."""
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
        lines = list(code_lines(prompt))
        for each in lines[:-1]:
            line.column, line.head, line.last = each.column, each.head, each.last
            self._start_line()
            self._end_line()
        line.restart()
        start = lines[-1].start if lines else 0
        blank_lines, comment_column = 0, None
        for character in line.significant(prompt[start:]):
            had_code = line.has_code
            ended = line.feed(character)
            if line.has_code and not had_code:
                self._start_line()
                blank_lines, comment_column = 0, None
            elif not line.has_code and line.in_comment:
                blank_lines, comment_column = 0, line.column
            if ended:
                if line.has_code:
                    self._end_line()
                elif line.is_blank:
                    blank_lines += 1
                line.restart()
        if line.has_code:
            return  # the prompt ends within a line; the end of that line determines the block
        column = line.column or comment_column
        if column is None and blank_lines >= 2:
            column = 0
        if column is not None:
            self._close_blocks(column)
        if self._open_blocks and not self._after_decorator:
            self._block = self._current_block()

    def _read(self, character: str) -> bool:
        """Read one character; True if all text up to it belongs to the block."""
        line, block = self._line, self._block
        had_code = line.has_code
        ended = line.feed(character)
        if line.has_code and not had_code:
            if block is None or line.column >= block.min_column:
                self._start_line()
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
            self._start_line()
        is_within = block is None or line.column >= block.min_column
        belongs = line.has_code or (is_within and not line.is_blank)
        if ended:
            if line.has_code:
                self._end_line()
                if block is None and not self._after_decorator:
                    self._block = self._current_block(line)
            line.restart()
        return belongs

    def _end(self) -> bool:
        self.ended = True
        self._pending.clear()
        return False

    def _close_blocks(self, column: int) -> None:
        """Close the blocks that a line starting at ``column`` ends."""
        while self._open_blocks and column < self._open_blocks[-1].min_column:
            self._open_blocks.pop()

    def _start_line(self) -> None:
        """Handle the start of a logical line."""
        self._close_blocks(self._line.column)
        if self._open_blocks and self._open_blocks[-1].body is None:
            self._open_blocks[-1].body = self._line.column

    def _end_line(self) -> None:
        """Handle the end of a logical line."""
        line = self._line
        if line.last == ":":
            self._open_blocks.append(_Block(line.column, _kind(line)))
        self._after_decorator = line.head.startswith("@")

    def _current_block(self, line: LogicalLine | None = None) -> _Block:
        """Return the block being completed; ``line`` is the line that has just ended, if any."""
        if line is not None and _kind(line) == "definition":
            own = self._open_blocks and line.last == ":"
            return self._open_blocks[-1] if own else _Block(line.column, "definition")
        for block in reversed(self._open_blocks):
            if block.kind == "definition":
                return block
        if self._open_blocks:
            return self._open_blocks[0]
        assert line is not None, "without an open block, the first line determines the block"
        return _Block(line.column, "statement")


def _kind(line: LogicalLine) -> Literal["definition", "compound"]:
    return "definition" if _DEFINITION.match(line.head) else "compound"


def cut_unfinished(prompt: str, completion: str) -> str:
    """Cut a completion that ran out of tokens after its last complete logical line.

    A line within open brackets or an open string is incomplete, and so is a header (``if x:``)
    without a body.
    """
    line, end = LogicalLine(), 0
    for position, character in enumerate(prompt + completion, 1 - len(prompt)):
        if line.feed(character):
            if position > 0 and line.last != ":":
                end = position
            line.restart()
    return completion[:end]


def cut_at_block_end(prompt: str, completion: str) -> str:
    """Return the part of ``completion`` that belongs to the block around the end of ``prompt``."""
    return BlockEnd(prompt).feed(completion)


def is_in_definition(prompt: str) -> bool:
    """Whether the end of ``prompt`` is inside a ``def`` or ``class``."""
    return BlockEnd(prompt).in_definition
