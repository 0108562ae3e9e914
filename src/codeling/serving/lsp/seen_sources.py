"""Where suggestions of each document were seen by the memory: the open file, or files beside it.

Editors do not tell what was accepted, and lines move. So what was suggested lately is looked for in
the lines that somebody asks about. This module must not know the protocol.
"""

from collections import deque
from collections.abc import Sequence

from codeling.generation.memory import MemorySpan

_NUM_RECENT = 64
"""Suggestions that are remembered for each document."""
_MIN_CHARACTERS = 4
"""Of a line that is looked for: shorter ones stand in any file."""


class SeenSources:
    """What was copied into each document lately."""

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
        """The parts of suggestions that stand in ``lines``, each place once, the latest first."""
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
    """Whether a line of ``text`` stands in ``lines``."""
    pieces = [line.strip() for line in text.splitlines()]
    return any(len(piece) >= _MIN_CHARACTERS and piece in lines for piece in pieces)
