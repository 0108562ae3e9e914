"""Places where the memory saw parts of each document's suggestions: in it, or in files beside it.

Editors do not report what was accepted, and lines move. So the latest suggestions are searched for
in the requested lines. This module must not know the protocol.
"""

from collections import deque
from collections.abc import Sequence

from codeling.generation.memory import MemorySpan

_NUM_RECENT = 64
"""Suggestions that are remembered for each document."""
_MIN_CHARACTERS = 4
"""Minimum length of a line that is searched for; shorter ones occur in any file."""


class SeenSources:
    """The latest copies in each document."""

    def __init__(self) -> None:
        self._recent: dict[str, deque[Sequence[MemorySpan]]] = {}

    def remember(self, uri: str, spans: Sequence[MemorySpan]) -> None:
        """Keep the parts of a suggestion that were seen before."""
        if spans:
            self._recent.setdefault(uri, deque(maxlen=_NUM_RECENT)).appendleft(spans)

    def forget(self, uri: str) -> None:
        """The document was closed."""
        self._recent.pop(uri, None)

    def within(self, uri: str, lines: str) -> list[MemorySpan]:
        """The parts of suggestions that occur in ``lines``, each place once, the latest first."""
        found: dict[tuple[str, str | None, int, int], MemorySpan] = {}
        for spans in self._recent.get(uri, ()):
            for span in spans:
                if _stands_in(span.text, lines):
                    place = span.source, span.path, span.start_line, span.end_line
                    found.setdefault(place, span)
        return list(found.values())


def described(span: MemorySpan) -> str:
    """One line of Markdown: path and lines, and what kind of file it is."""
    first, last = span.start_line, span.end_line
    lines = f"{first}" if first == last else f"{first}-{last}"
    path = span.path or "this file"
    kind = "open file" if span.source == "document" else "project"
    return f"- {path}:{lines} ({kind}, {span.share:.0%} of the probability)"


def _stands_in(text: str, lines: str) -> bool:
    """Whether a line of ``text`` occurs in ``lines``."""
    pieces = [line.strip() for line in text.splitlines()]
    return any(len(piece) >= _MIN_CHARACTERS and piece in lines for piece in pieces)
