"""Trims a proposed text before it is shown.

A suggestion ends where the text after the cursor begins again, before a bracket that the suffix
closes itself, and before a line that leaves the block. It never ends in white space. A line that
repeats the line before the cursor is not suggested. Every rule only shortens a text.

This module must not know torch, tokens or models.
"""

from codeling.generation.suggestions.place import Place
from codeling.python_lexer import LINE_END, Lexer

_MAX_LOOK_AHEAD = 4096
"""Characters of the suffix that are read."""
_NEVER_SHOWN = "\0\r\ufffd"
"""A text ends before these; the last one replaces bytes that are not UTF-8."""
_CLOSERS = ")]}"
_MIN_LINE = 3
"""Characters of a line that counts as repeated; shorter ones are brackets."""


def trimmed(text: str, prefix: str, suffix: str, place: Place) -> str:
    """The part of ``text`` that may be shown between ``prefix`` and ``suffix``; may be empty."""
    for character in _NEVER_SHOWN:
        text = text.partition(character)[0]
    text = text.partition("\n")[0] if place.reach == "line" else _within_block(text, place)
    text = _without_closed_brackets(text, suffix, place.lexer.copy())
    text = _before_overlap(text, suffix)
    if place.at_line_start and _repeats_line_before(text, prefix):
        return ""
    return text.rstrip()


def _within_block(text: str, place: Place) -> str:
    """``text`` up to its first line that does not belong to the block of the cursor."""
    lines = text.split("\n")
    for number, line in enumerate(lines[1:], start=1):
        rest = line[len(place.indentation) :]
        is_deeper = not place.after_header or rest[:1].isspace()
        if line.strip() and not (line.startswith(place.indentation) and is_deeper):
            return "\n".join(lines[:number])
    return text


def _without_closed_brackets(text: str, suffix: str, lexer: Lexer) -> str:
    """``text`` up to the first bracket that closes what is not open, or what the suffix closes."""
    if not any(bracket in text for bracket in _CLOSERS):
        return text
    lowest = _num_closed_by(suffix, lexer)
    for position, character in enumerate(text):
        is_code = not (lexer.in_string or lexer.in_comment)
        if character in _CLOSERS and is_code and lexer.depth <= lowest:
            return text[:position]
        lexer.feed(character)
    return text


def _num_closed_by(suffix: str, lexer: Lexer) -> int:
    """Number of brackets open at the cursor that the statement after it closes."""
    ahead = lexer.copy()
    depth = lowest = lexer.depth
    for character in suffix[:_MAX_LOOK_AHEAD]:
        if not lowest or ahead.feed(character) == LINE_END:
            break
        lowest = min(lowest, ahead.depth)
    return depth - lowest


def _before_overlap(text: str, suffix: str) -> str:
    """``text`` up to where it repeats the beginning of ``suffix``.

    Either the end of ``text`` is the beginning of ``suffix``, or a line of ``text`` is the first
    line of ``suffix`` that has text.
    """
    rest, _, below = suffix[:_MAX_LOOK_AHEAD].partition("\n")
    if rest.strip():
        begin = rest.lstrip()
        if not begin.strip(_CLOSERS):
            return text  # brackets have a rule of their own
        for size in range(min(len(text), len(begin)), 0, -1):
            if text.endswith(begin[:size]) and (size == len(begin) or size >= _MIN_LINE):
                return text[: len(text) - size]
        return text
    following = next((line.strip() for line in below.split("\n") if line.strip()), "")
    if len(following) >= _MIN_LINE:
        lines = text.split("\n")
        for number, line in enumerate(lines):
            if line.strip() == following:
                return "\n".join(lines[:number])
    return text


def _repeats_line_before(text: str, prefix: str) -> bool:
    """Whether the first line of ``text`` is the last line of ``prefix`` that has text."""
    first = text.partition("\n")[0].strip()
    before = prefix.rstrip()
    last = before[before.rfind("\n") + 1 :].strip()
    return len(first) >= _MIN_LINE and first == last
