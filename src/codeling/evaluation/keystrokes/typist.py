"""A simulated person who types a file again, and takes each suggestion as far as it is right.

The person types the text character by character. Indentation and line ends cost nothing, since an
editor writes them. Where an editor would ask for a suggestion
(:func:`~codeling.generation.suggestions.place.asks_at`), one is asked for. It is accepted by word:
the longest right beginning that ends at the end of a word in both texts; by line; or as a whole.
Accepting costs one keystroke, and a beginning of less than three characters is typed instead. A
suggestion that agrees with what is typed stays, without another request.

This module must not know models, and measures no time of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from codeling.generation.suggestions.choice import MIN_CHARACTERS, typed_characters
from codeling.generation.suggestions.place import MIN_LETTERS, asks_at, is_border

ACCEPT = ("word", "line", "whole")
"""Part of a suggestion that one keystroke accepts."""
Suggest = Callable[[str, str], str | None]
"""From the text before and after the cursor to the text that is shown."""


@dataclass(frozen=True)
class Event:
    """One suggestion that was shown."""

    position: int
    """Index of the cursor in the file."""
    shown: str
    accepted: int
    """Characters accepted, white space included; 0: none of it was right."""
    saved: int
    """Characters that did not have to be typed, less the keystroke that accepted them."""


@dataclass
class Session:
    """Counts and events of typing one text."""

    num_characters: int = 0
    """Characters of the text without indentation and line ends."""
    num_requests: int = 0
    events: list[Event] = field(default_factory=list)
    new_lines: list[bool] = field(default_factory=list)
    """For each line that does not occur above: whether what was shown at its beginning is
    exactly the line."""
    repeated_lines: list[bool] = field(default_factory=list)
    """The same for lines that occur above."""

    def note_line(self, lines: "_LinesAbove", position: int, shown: str) -> None:
        """Record whether ``shown`` begins with exactly the line at ``position``."""
        line, is_repeated = lines.take(position)
        right = shown.partition("\n")[0].rstrip() == line
        (self.repeated_lines if is_repeated else self.new_lines).append(right)

    @property
    def num_saved(self) -> int:
        """Keystrokes saved."""
        return sum(event.saved for event in self.events)

    @property
    def num_accepted(self) -> int:
        """Suggestions of which a part was accepted."""
        return sum(event.accepted > 0 for event in self.events)

    @property
    def num_wrong(self) -> int:
        """Suggestions of which nothing was accepted."""
        return len(self.events) - self.num_accepted


def type_text(
    text: str,
    suggest: Suggest,
    accept: str = "word",
    *,
    begin: int = 0,
    end: int | None = None,
    sees_suffix: bool = False,
    ask_after: int = MIN_LETTERS,
) -> Session:
    """Type ``text[begin:end]`` and return what happened.

    ``suggest`` gets all text before the cursor, and the text after ``end`` if ``sees_suffix``.
    Within a word it is asked after ``ask_after`` letters.
    """
    end = len(text) if end is None else end
    suffix = text[end:] if sees_suffix else ""
    session = Session()
    typed = typed_characters(text, at_line_start=True)
    session.num_characters = sum(typed[begin:end])
    position, shown, above = begin, "", _LinesAbove(text, begin)
    while True:
        start = position
        while position < end and not typed[position]:
            position += 1
        if position >= end:
            return session
        skipped = text[start:position]
        shown = shown[len(skipped) :] if shown.startswith(skipped) else ""
        prefix = text[:position]
        is_new = not shown and asks_at(prefix, ask_after)
        if is_new:
            session.num_requests += 1
            shown = suggest(prefix, suffix) or ""
        if position > start or position == begin:
            session.note_line(above, position, shown)
        if is_new and shown:
            length = _right_length(shown, text[:end], position, accept)
            num_accepted = sum(typed[position : position + length])
            if num_accepted < MIN_CHARACTERS:
                length = num_accepted = 0
            saved = num_accepted - 1 if length else 0
            session.events.append(Event(position, shown, length, saved))
            if length:
                for within in above.starts(position + 1, position + length):
                    session.note_line(above, within, text[within : position + length])
                position, shown = position + length, ""
                continue
        shown = shown[1:] if shown[:1] == text[position] else ""
        position += 1


class _LinesAbove:
    """The lines of a text, and which of them occur above."""

    def __init__(self, text: str, begin: int) -> None:
        self._text = text
        self._above = {line.strip() for line in text[:begin].split("\n")}

    def starts(self, begin: int, end: int) -> list[int]:
        """Positions after the indentation of lines with text, from ``begin`` to ``end``."""
        found = []
        while (begin := self._text.find("\n", begin, end) + 1) > 0:
            rest = self._text[begin:end]
            start = begin + len(rest) - len(rest.lstrip(" \t"))
            if start < end and self._text[start] != "\n":
                found.append(start)
        return found

    def take(self, position: int) -> tuple[str, bool]:
        """The line that begins at ``position``, and whether it occurs above."""
        end = self._text.find("\n", position)
        line = self._text[position : end if end >= 0 else len(self._text)].strip()
        is_repeated = line in self._above
        self._above.add(line)
        return line, is_repeated


def _right_length(shown: str, text: str, position: int, accept: str) -> int:
    """Length of the beginning of ``shown`` that is accepted."""
    length = 0
    while length < len(shown) and shown[length] == text[position + length : position + length + 1]:
        length += 1
    if accept == "whole":
        ends = length == len(shown) and is_border(text, position + length)
        return length if ends else 0
    if accept == "line":
        line_end = shown.find("\n")
        size = line_end if line_end >= 0 else len(shown)
        return size if length >= size and is_border(text, position + size) else 0
    while length and not (is_border(shown, length) and is_border(text, position + length)):
        length -= 1
    return length
