"""Places of a completion's tokens: runs of tokens copied from one place.

This module must not know how proposals are made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

MIN_TOKENS = 4
"""Shorter runs are not reported: any file has them."""


class Origin(NamedTuple):
    """The place where one token was seen."""

    source: str
    """``document`` or ``project``."""
    path: str | None
    """The file within the project; None for the document itself."""
    position: int
    """Index of the token within its source."""
    line: int
    """Its line in the file, from 1."""


@dataclass(frozen=True)
class SeenSpan:
    """A part of a completion that a source proposed, and where it was seen."""

    text: str
    """The part, decoded from whole tokens."""
    source: str
    """``document`` or ``project``."""
    path: str | None
    """The file within the project; None for the document itself."""
    start_line: int
    """First line of the place, from 1."""
    end_line: int
    """Last line of the place."""
    share: float
    """Mean share of the tokens' probability that came from this source."""


class SpanRecorder:
    """Collects the origin of each token, and joins them to spans."""

    def __init__(self, token_bytes: Sequence[bytes]) -> None:
        """``token_bytes``: the bytes of each id."""
        self._token_bytes = token_bytes
        self._tokens: list[tuple[int, Origin | None, float]] = []

    def record(self, token: int, origins: Sequence[Origin], share: float) -> None:
        """Add a token: the places where it may come from, best first, and their share of it.

        The place that continues the previous token's is preferred.
        """
        chosen = origins[0] if origins else None
        if self._tokens and (last := self._tokens[-1][1]):
            for origin in origins:
                if _follows(last, origin):
                    chosen = origin
        self._tokens.append((token, chosen, share))

    def spans(self) -> tuple[SeenSpan, ...]:
        """The runs of :data:`MIN_TOKENS` tokens or more, in order."""
        runs: list[list[tuple[int, Origin, float]]] = []
        last: Origin | None = None
        for token, origin, share in self._tokens:
            if origin is not None:
                if last is None or not _follows(last, origin):
                    runs.append([])
                runs[-1].append((token, origin, share))
            last = origin
        return tuple(self._span(run) for run in runs if len(run) >= MIN_TOKENS)

    def _span(self, run: list[tuple[int, Origin, float]]) -> SeenSpan:
        data = b"".join(self._token_bytes[token] for token, _, _ in run)
        first, last = run[0][1], run[-1][1]
        return SeenSpan(
            data.decode(errors="replace"),
            first.source,
            first.path,
            first.line,
            last.line,
            sum(share for _, _, share in run) / len(run),
        )


def _follows(before: Origin, origin: Origin) -> bool:
    """Whether ``origin`` is the position after ``before`` in the same file."""
    return (before.source, before.path, before.position + 1) == (
        origin.source,
        origin.path,
        origin.position,
    )
