"""Sources of next-token proposals: the protocol and its records.

A source has seen some text (the open file, other files of the project, the training corpus) and
proposes what may follow a history of ids. It is a sub-distribution: probabilities of the tokens
that it proposes, and the rest, about which it says nothing.

A history is a document's ids from its beginning, ``<|endoftext|>`` first. This module must not
know where the text comes from, nor how sources are mixed.
"""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
Counts = NDArray[np.int32]


class Proposal(NamedTuple):
    """The proposal of one source after one history. The probabilities and ``rest`` sum to 1."""

    ids: Ids
    """(K,): the proposed tokens, each once; K may be 0."""
    probabilities: Floats
    """(K,): above 0."""
    rest: float
    """Probability of all tokens that are not proposed; 1 if nothing is proposed."""
    order: int
    """Number of tokens in the longest context that was found; 0: none."""
    num_seen: int
    """Number of times that this context was seen."""
    num_distinct: int
    """Number of distinct tokens seen after it."""


class Scores(NamedTuple):
    """The proposals of one source at each position of a document, for fitting and evaluation.

    Entry t is about ``ids[t + 1]`` after ``ids[: t + 1]``, for T + 1 ids.
    """

    probability: Floats
    """(T,): probability of the token that follows; 0 if it is not proposed."""
    rest: Floats
    """(T,): see :class:`Proposal`, as are the next three."""
    order: Counts
    """(T,)."""
    num_seen: Counts
    """(T,)."""
    num_distinct: Counts
    """(T,)."""
    top: Ids
    """(T,): the proposed token of the highest probability, the lowest id if equal; -1: none."""
    top_probability: Floats
    """(T,): its probability."""


class ProposalSource(Protocol):
    """A source of proposals that does not change while a document is written.

    Several threads may ask it at the same time.
    """

    def propose(self, history: Ids) -> Proposal:
        """Propose the token after ``history`` (N,), or after a history that ends in it.

        The last 24 tokens of a longer history are enough.
        """

    def score(self, ids: Ids) -> Scores:
        """:meth:`propose` at each position of a document, ``ids`` (T + 1,)."""


class LocatedSource(ProposalSource, Protocol):
    """A source that can say where it saw a token."""

    def places(self, history: Ids, token: int) -> list[tuple[str, int, int]]:
        """Places of ``token`` that the proposal is based on, the best first.

        Path of the file, position, and line in the file, from 1.
        """

    def refresh(self) -> None:
        """Before a document is written: take what changed."""
