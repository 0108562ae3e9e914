"""Positions of the Language Server Protocol, which count a line's code units, as offsets in a text.

A line ends with ``\\n``, ``\\r\\n`` or ``\\r`` and nothing else. Source: "Position" in the
specification of LSP 3.18.
"""

import re
from typing import Literal

Encoding = Literal["utf-8", "utf-16", "utf-32"]
"""The unit of a position."""

_LINE_END = re.compile(r"\r\n|\n|\r")


def num_units(text: str, encoding: Encoding) -> int:
    """Length of ``text`` in code units."""
    if text.isascii() or encoding == "utf-32":
        return len(text)
    if encoding == "utf-8":
        return len(text.encode("utf-8", "surrogatepass"))
    return len(text) + sum(character > "\uffff" for character in text)


def offset_at(text: str, line: int, character: int, encoding: Encoding) -> int:
    """Index in ``text`` of a position; one beyond the end of its line, or of the text, is the end.

    A position within a character is before it.
    """
    begin = 0
    for _ in range(line):
        found = _LINE_END.search(text, begin)
        if found is None:
            return len(text)
        begin = found.end()
    found = _LINE_END.search(text, begin)
    end = found.start() if found else len(text)
    units = 0
    for offset in range(begin, end):
        units += num_units(text[offset], encoding)
        if units > character:
            return offset
    return end


def position_after(line: int, character: int, text: str, encoding: Encoding) -> tuple[int, int]:
    """Line and character after ``text`` that was inserted at a position."""
    ends = list(_LINE_END.finditer(text))
    if not ends:
        return line, character + num_units(text, encoding)
    return line + len(ends), num_units(text[ends[-1].end() :], encoding)
