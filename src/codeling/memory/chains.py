"""Tokens, and the chains of positions after equal contexts; grows and shrinks at its end.

Adding, removing and copying take constant time per new token. This module must not know what the
tokens belong to, or how counts become probabilities.
"""

import threading
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codeling.memory import chain_kernels as kernels
from codeling.memory.source import Floats, Ids, Proposal, Scores

Tokens = NDArray[np.int32]

_MIN_CAPACITY = 256
_MAX_LOAD = 2
"""Positions per bucket up to which buckets are kept when the chains grow."""


class Chains:
    """A sequence of tokens in which the positions after a context are found."""

    def __init__(self, orders: Ids, capacity: int = _MIN_CAPACITY) -> None:
        """``orders``: the context lengths that have chains, ascending, the longest
        :data:`~codeling.memory.chain_kernels.LONGEST` or less."""
        self.orders = orders
        self._length = 0
        self._ids = np.empty(capacity, np.int32)
        self._prefix = np.zeros(capacity + 1, np.uint64)
        self._heads = _empty_heads(orders, capacity)
        self._links = np.empty((len(orders), capacity), np.int32)
        self._num_base = 0
        nothing = np.empty((len(orders), 0), np.int32)
        self._base = nothing, nothing
        self._copies: weakref.WeakSet[Chains] = weakref.WeakSet()

    def __len__(self) -> int:
        """Number of tokens."""
        return self._length

    @property
    def ids(self) -> Tokens:
        """(N,): the tokens."""
        return self._ids[: self._length]

    @property
    def num_shared(self) -> int:
        """Number of leading tokens that cannot be removed, because a copy was made of them."""
        return self._num_base

    @property
    def arrays(self) -> tuple[Any, ...]:
        """The ``store`` of the kernels."""
        return self._ids, self.orders, self._heads, self._links, *self._base, self._num_base

    @property
    def prefix(self) -> NDArray[np.uint64]:
        """(N + 1,): see :func:`codeling.memory.chain_kernels.bucket`."""
        return self._prefix[: self._length + 1]

    def append(self, tokens: Sequence[int] | NDArray[Any], *, is_linked: bool = True) -> None:
        """Add ``tokens`` at the end; with ``is_linked`` False, to no chain yet."""
        if not len(tokens):
            return
        self._own()
        first, last = self._length, self._length + len(tokens)
        self._reserve(last)
        self._ids[first:last] = tokens
        self._length = last
        kernels.extend(self._ids, self._prefix, first, last)
        if is_linked:
            self._link(first, last)

    def remove(self, num_tokens: int) -> None:
        """Remove the last ``num_tokens``, none of them shared with a copy's original."""
        assert 0 <= num_tokens <= self._length - self._num_base, "these tokens are shared"
        if not num_tokens:
            return
        self._own()
        first = self._length - num_tokens
        kernels.unlink(
            self._prefix, first, self._length, self.orders, self._heads, self._links, self._num_base
        )
        self._length = first

    def fork(self) -> "Chains":
        """Return a copy, which shares the chains that exist."""
        copy = Chains(self.orders)
        copy._reserve(self._length)
        copy._length = self._length
        copy._ids[: self._length] = self.ids
        copy._prefix[: self._length + 1] = self.prefix
        if self._num_base:
            copy._num_base, copy._base = self._num_base, self._base
            copy._heads, copy._links = self._heads.copy(), self._links.copy()
        elif self._length:
            copy._num_base, copy._base = self._length, (self._heads, self._links)
            self._copies.add(copy)
        return copy

    def _own(self) -> None:
        """Before a change: copy the chains if a living copy shares them."""
        if len(self._copies):
            self._heads, self._links = self._heads.copy(), self._links.copy()
            self._copies = weakref.WeakSet()

    def _reserve(self, length: int) -> None:
        """Make room for ``length`` tokens."""
        if length > len(self._ids):
            self._ids = _grown(self._ids, 2 * length)
            self._prefix = _grown(self._prefix, 2 * length + 1)
        own = length - self._num_base
        if own > self._links.shape[1]:
            links = np.empty((len(self.orders), 2 * own), np.int32)
            if own <= _MAX_LOAD * self._heads.shape[1]:
                links[:, : self._links.shape[1]] = self._links
                self._links = links
            else:
                self._links, self._heads = links, _empty_heads(self.orders, 2 * own)
                self._link(self._num_base, self._length)

    def _link(self, first: int, last: int) -> None:
        kernels.link(
            self._prefix, first, last, self.orders, self._heads, self._links, self._num_base
        )


class Scratch(threading.local):
    """Working memory of the kernels; each thread has its own."""

    def __init__(self, vocab_size: int, most: int) -> None:
        """``most``: number of positions that one proposal may visit."""
        self.longest_of = np.zeros(vocab_size, np.int64)
        self.found = np.empty(most, np.int64), np.empty(most, np.int64)
        self.by_length = np.empty((2, kernels.LONGEST + 2), np.int64), np.empty(kernels.LONGEST + 2)
        self.out = np.empty(most, np.int64), np.empty(most, np.float64)


class Predictor:
    """Proposals from chains: how many positions are visited, and how counts are interpolated."""

    def __init__(self, trust: Floats, vocab_size: int, orders: Ids, limit: int) -> None:
        """``trust`` is the parameter of :func:`codeling.memory.chain_kernels.blend`; ``limit``
        positions are visited for each of ``orders``."""
        self.trust = trust
        self.orders = orders
        self.limit = limit
        self._scratch = Scratch(vocab_size, len(orders) * limit)

    def propose(self, history: Tokens, prefix: NDArray[np.uint64], chains: Chains) -> Proposal:
        """Propose the token after ``history`` (N,), whose hashes are ``prefix`` (N + 1,)."""
        scratch = self._scratch
        num_tokens, rest, *match = kernels.propose(
            history,
            prefix,
            len(history),
            chains.arrays,
            self.limit,
            self.trust,
            scratch.longest_of,
            (scratch.found, scratch.by_length),
            scratch.out,
        )
        ids, probabilities = scratch.out
        return Proposal(
            ids[:num_tokens].copy(), probabilities[:num_tokens].astype(np.float32), rest, *match
        )

    def continuation(self, chains: Chains, shortest: int, most: int, limit: int) -> list[int]:
        """The tokens that followed the longest match of the end of ``chains``, at most ``most``.

        The match has at least ``shortest`` tokens, and is among the ``limit`` newest of an order.
        """
        out = np.empty(most, np.int64)
        end = len(chains)
        number = kernels.continuation(
            chains.ids, chains.prefix, end, chains.arrays, limit, shortest, self._scratch.found, out
        )
        ids: list[int] = out[:number].tolist()
        return ids

    def propose_after(self, history: Ids, chains: Chains) -> Proposal:
        """:meth:`propose` for a history without hashes, (N,)."""
        asked = self.hashed(history)
        return self.propose(asked.ids, asked.prefix, chains)

    def hashed(self, history: Ids) -> Chains:
        """The end of a history, as much of it as matters, with hashes but in no chain."""
        end = Chains(self.orders, kernels.LONGEST)
        end.append(history[-kernels.LONGEST :], is_linked=False)
        return end

    def places(
        self, history: Tokens, prefix: NDArray[np.uint64], chains: Chains, token: int
    ) -> list[int]:
        """Positions of ``token`` after a context of ``history``: longest context first, then newest
        first."""
        places, lengths = self._scratch.found
        found = kernels.find(
            history, prefix, len(history), chains.arrays, self.limit, places, lengths
        )
        matching = [
            (-int(length), -int(place))
            for place, length in zip(places[:found], lengths[:found], strict=True)
            if chains.ids[place] == token
        ]
        return [-place for _, place in sorted(matching)]

    def score(self, ids: Ids, chains: Chains | None = None) -> Scores:
        """Propose at each position of a document (T + 1,), from ``chains`` or its own past."""
        history, own, chains = self._document(ids, chains)
        num = len(ids) - 1
        floats = np.empty((3, num), np.float32)
        counts = np.empty((3, num), np.int32)
        tops = np.empty(num, np.int64)
        scratch = self._scratch
        kernels.score(
            history.ids,
            history.prefix,
            chains.arrays,
            own,
            self.limit,
            self.trust,
            scratch.longest_of,
            (scratch.found, scratch.by_length),
            scratch.out,
            floats,
            counts,
            tops,
        )
        return Scores(floats[0], floats[1], counts[0], counts[1], counts[2], tops, floats[2])

    def count(self, ids: Ids, chains: Chains | None = None) -> NDArray[np.int32]:
        """The counts (T, LONGEST, 3) that the trust is fitted on; see :meth:`score`."""
        history, own, chains = self._document(ids, chains)
        counts = np.zeros((len(ids) - 1, kernels.LONGEST, 3), np.int32)
        scratch = self._scratch
        kernels.count(
            history.ids,
            history.prefix,
            chains.arrays,
            own,
            self.limit,
            scratch.longest_of,
            scratch.found,
            counts,
        )
        return counts

    def _document(self, ids: Ids, chains: Chains | None) -> tuple[Chains, bool, Chains]:
        """``ids`` with hashes but without chains, whether its own past is asked, what is asked."""
        history = Chains(self.orders, max(_MIN_CAPACITY, len(ids)))
        history.append(ids, is_linked=False)
        return history, chains is None, history if chains is None else chains


def _empty_heads(orders: Ids, capacity: int) -> Tokens:
    """Empty buckets, at least as many as positions."""
    return np.full((len(orders), 1 << (capacity - 1).bit_length()), -1, np.int32)


def _grown(array: NDArray[Any], length: int) -> NDArray[Any]:
    """Copy ``array`` (N,) to one of ``length`` entries."""
    grown = np.zeros(length, array.dtype)
    grown[: len(array)] = array
    return grown
