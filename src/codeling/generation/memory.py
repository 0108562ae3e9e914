"""The protocol between the engine and a memory, which changes the next token's distribution.

A memory knows texts that the model's context does not hold: the whole document, a project, a
corpus. The engine opens it for each sequence and passes it each picked token. The memory's
distribution replaces the model's before constraints, temperature, top k and top p are applied,
which work as without a memory. This module must not know how a memory works.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class MemorySpan(Protocol):
    """A part of a completion that a memory proposed, and where it was seen; a dataclass."""

    @property
    def text(self) -> str:
        """The part of the completion, decoded from whole tokens."""

    @property
    def source(self) -> str:
        """``document`` or ``project``."""

    @property
    def path(self) -> str | None:
        """The file within the project; None for the document itself."""

    @property
    def start_line(self) -> int:
        """First line of the place, from 1."""

    @property
    def end_line(self) -> int:
        """Last line of the place."""

    @property
    def share(self) -> float:
        """Mean share of the tokens' probability that came from this source."""


class SequenceMemory(Protocol):
    """The memory as one sequence sees it."""

    def mix(self, logits: NDArray[np.float32]) -> None:
        """Replace the model's logits (V,) of the next token by the mixture's log-probabilities."""

    def observe(self, token: int) -> None:
        """Add the token that was picked."""

    def draft(self, most: int) -> list[int]:
        """A guess of the next tokens, at most ``most``; it affects only the speed."""

    def spans(self) -> Sequence[MemorySpan]:
        """Places that the picked tokens came from, in order; empty if they were not recorded."""

    def token_shares(self) -> Sequence[Mapping[str, float]]:
        """Per picked token, the share of its probability from ``model`` and each source.

        The shares of a token sum to 1. Empty if it was not recorded.
        """


class Memory(Protocol):
    """A memory, which any number of sequences use. It belongs to one thread."""

    def read(self, files: Sequence[tuple[str, str]]) -> Any:
        """What :meth:`open` takes for paths and texts, the nearest last.

        Any thread may call this.
        """

    def open(
        self, before: Sequence[int], after: Sequence[int], *, record: bool, files: Any
    ) -> SequenceMemory:
        """The memory for a sequence that continues ``before`` and leads to ``after``.

        ``before`` begins with ``<|endoftext|>``. With ``record``, it is noted where each token came
        from. ``files`` is what :meth:`read` returned, of this memory or a copy.
        """

    def copy(self) -> "Memory":
        """A memory of the same texts, for another thread."""
