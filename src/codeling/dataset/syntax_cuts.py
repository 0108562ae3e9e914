"""Middles for infilling that a person would write: statements, blocks, ends of lines, arguments.

A middle is one of four kinds, chosen first, so that a rare kind is learned too: one to three
statements, the body of a header (``if x:``), the rest of a line, or the text in brackets. Kinds
that a text does not have are not chosen. The text may be a piece of a file, or no Python at all.
This module must not know tokens.

Source: cuts along the syntax, as Falcon-H1-Tiny-Coder makes for half of its middles. That model
uses a parser; here a lexer and the indentation are enough, which a training can afford for every
sequence.
"""

import re
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np

from codeling.python_lexer import literals

_STRUCTURE = re.compile(r"[()\[\]{}\n]")
_MAX_STATEMENTS = 3

Span = tuple[int, int]
Item = TypeVar("Item")


class _Line(NamedTuple):
    """A logical line."""

    start: int
    """Its first character, after the indentation."""
    end: int
    """After its last character; a comment counts."""
    column: int
    is_header: bool


def choose_middle(text: str, random: np.random.Generator) -> Span | None:
    """Begin and end of a middle in ``text``; None if it has none of any kind."""
    lines, brackets = _read(text)
    kinds: list[Callable[[], Span]] = []
    if lines:
        kinds += [lambda: _statements(lines, random), lambda: _rest(lines, random)]
    headers = [number for number in range(len(lines)) if _body_end(lines, number) > number + 1]
    if headers:
        kinds.append(lambda: _body(lines, _one(headers, random)))
    if brackets:
        kinds.append(lambda: _one(brackets, random))
    return _one(kinds, random)() if kinds else None


def _one(items: list[Item], random: np.random.Generator) -> Item:
    return items[int(random.integers(len(items)))]


def _statements(lines: list[_Line], random: np.random.Generator) -> Span:
    """One to three statements, each with its body."""
    first = end = int(random.integers(len(lines)))
    for _ in range(int(random.integers(1, _MAX_STATEMENTS + 1))):
        if end < len(lines) and lines[end].column == lines[first].column:
            end = _body_end(lines, end)
    return lines[first].start, lines[end - 1].end


def _body(lines: list[_Line], header: int) -> Span:
    """The lines after a header, with the line end before them."""
    return lines[header].end, lines[_body_end(lines, header) - 1].end


def _body_end(lines: list[_Line], number: int) -> int:
    """The line after a statement and its body."""
    end = number + 1
    while lines[number].is_header and end < len(lines) and lines[end].column > lines[number].column:
        end += 1
    return end


def _rest(lines: list[_Line], random: np.random.Generator) -> Span:
    """From within a line to its end."""
    line = _one(lines, random)
    return int(random.integers(line.start, line.end)), line.end


def _read(text: str) -> tuple[list[_Line], list[Span]]:
    """The logical lines of ``text``, and the spans in brackets."""
    lines: list[_Line] = []
    brackets: list[Span] = []
    opened: list[int] = []
    start = position = 0
    comment = len(text)
    for begin, end, _ in (*literals(text), (len(text), len(text), False)):
        for match in _STRUCTURE.finditer(text, position, begin):
            place, character = match.start(), match[0]
            if character in "([{":
                opened.append(place + 1)
            elif character != "\n":
                if opened and text[opened[-1] : place].strip():
                    brackets.append((opened[-1], place))
                del opened[-1:]
            elif not opened:
                _add_line(lines, text, start, min(comment, place), place)
                start, comment = place + 1, len(text)
        if text.startswith("#", begin):
            comment = min(comment, begin)
        position = end
    _add_line(lines, text, start, min(comment, len(text)), len(text))
    return lines, brackets


def _add_line(lines: list[_Line], text: str, start: int, comment: int, end: int) -> None:
    """Add the line between two line ends, unless it is blank. ``comment``: the end of its code."""
    line = text[start:end]
    first = start + len(line) - len(line.lstrip())
    if line.strip():
        is_header = text[start:comment].rstrip().endswith(":")
        lines.append(_Line(first, start + len(line.rstrip()), first - start, is_header))
