"""Memory of one document: what followed each context of 1 to 24 tokens in it so far.

The whole document counts, not only the model's window. Tokens are added at the end and removed from
it, and a document is copied to be continued in several ways, in constant time per new token. Laws,
each a test: after tokens are added and removed, the state is the one before; a document in pieces
gives what it gives at once; a copy continues like the original; counts equal those of a brute-force
search. This module must not know text, files or other sources.

Sources: a cache of the document's own past, Kuhn and De Mori 1990; for code, Tu, Su and Devanbu
2014, Hellendoorn and Devanbu 2017.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codeling.memory.chains import Chains, Predictor, Tokens
from codeling.memory.source import Floats, Proposal

ORDERS = np.array([1, 2, 4, 8, 16])
"""Context lengths that have chains. Longer contexts between them are found through the next
shorter one."""

LIMIT = 128
"""Number of the newest positions that are visited for each of :data:`ORDERS`."""

_SHORTEST_MATCH = 2
"""Tokens that must match for a draft. On the validation split of a demo, drafts of at most 7 tokens
after 1, 2, 3 and 4 give 3.5, 3.3, 3.0 and 2.7 tokens a step; 2 is fastest, for fewer are wrong."""
_DRAFT_LIMIT = 8
"""Positions that are visited for a draft; 32 make it no better."""


def document_predictor(trust: Floats, vocab_size: int) -> Predictor:
    """The predictor that documents share."""
    return Predictor(trust, vocab_size, ORDERS, LIMIT)


class DocumentMemory:
    """The tokens of one document so far, and proposals for the next one."""

    def __init__(self, predictor: Predictor, chains: Chains | None = None) -> None:
        self._predictor = predictor
        self._chains = Chains(predictor.orders) if chains is None else chains

    def __len__(self) -> int:
        """Number of tokens."""
        return len(self._chains)

    @property
    def ids(self) -> Tokens:
        """(N,): the tokens, which must not be changed."""
        return self._chains.ids

    def observe(self, tokens: Sequence[int] | NDArray[Any]) -> None:
        """Add ``tokens`` at the end."""
        self._chains.append(tokens)

    def forget(self, num_tokens: int) -> None:
        """Remove the last ``num_tokens``. A copy cannot forget what it shares."""
        self._chains.remove(num_tokens)

    def fork(self) -> "DocumentMemory":
        """Return a copy. Original and copy share what was observed so far."""
        return DocumentMemory(self._predictor, self._chains.fork())

    def propose(self) -> Proposal:
        """Propose the next token."""
        return self._predictor.propose(self._chains.ids, self._chains.prefix, self._chains)

    def draft(self, most: int) -> list[int]:
        """Guess the next tokens, at most ``most``: those after the longest match."""
        return self._predictor.continuation(self._chains, _SHORTEST_MATCH, most, _DRAFT_LIMIT)

    def places(self, token: int) -> list[int]:
        """Positions of ``token`` that the proposal is based on.

        Those after the longest context come first, of these the newest.
        """
        return self._predictor.places(self._chains.ids, self._chains.prefix, self._chains, token)
