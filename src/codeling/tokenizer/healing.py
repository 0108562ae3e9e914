"""Token healing: the tokens that may go on with a text which ends within one.

A prompt that ends in the middle of a word, an operator or an indentation was cut where the
finished file is not, so its last tokens are ones that the model has hardly ever seen in front of
what comes next. Healing takes those tokens off again and asks that the next ones begin with
their bytes. Found in a sorted table of the entries, which is a trie written flat: the entries
that begin with the same bytes stand side by side. Pure: no model, no torch, no random choice.
Source of the idea: Lundberg and Ribeiro 2023, "Prompt boundaries and token healing" (guidance).
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Healed:
    """A prompt whose end was taken off."""

    ids: list[int]
    """What the model reads."""
    pending: bytes
    """What its next tokens have to begin with; empty where there was nothing to heal."""


class Vocabulary:
    """The entries of a tokenizer, to be looked up by how they begin."""

    def __init__(self, token_bytes: Sequence[bytes]) -> None:
        """``token_bytes`` of every id; those without any (special tokens) are never found."""
        self.token_bytes = tuple(token_bytes)
        """The bytes of each id."""
        order = sorted((token, i) for i, token in enumerate(token_bytes) if token)
        self._tokens = [token for token, _ in order]
        self._ids = np.array([i for _, i in order], np.int64)
        self._longest = max(map(len, self._tokens), default=0)

    def beginning_with(self, prefix: bytes) -> NDArray[np.int64]:
        """Ids of the entries that begin with ``prefix``, itself among them, by their bytes."""
        begin = bisect_left(self._tokens, prefix)
        return self._ids[begin : self._end(prefix, begin)]

    def extends(self, prefix: bytes) -> bool:
        """Whether an entry begins with ``prefix`` and is longer."""
        begin = bisect_left(self._tokens, prefix)
        while begin < len(self._tokens) and self._tokens[begin] == prefix:
            begin += 1
        return begin < len(self._tokens) and self._tokens[begin].startswith(prefix)

    def heal(self, ids: Sequence[int]) -> Healed:
        """Take off the longest end of ``ids`` whose bytes an entry begins with and goes beyond.

        A special token is never taken off, nor anything before it.
        """
        pending = taken = b""
        keep = len(ids)
        for number in range(len(ids) - 1, -1, -1):
            token = self.token_bytes[ids[number]]
            taken = token + taken
            if not token or len(taken) >= self._longest:
                break
            if self.extends(taken):
                keep, pending = number, taken
        return Healed(list(ids[:keep]), pending)

    def allowed(self, pending: bytes) -> NDArray[np.int64]:
        """Ids of the entries that may come next: those that begin with ``pending``, and those
        that ``pending`` begins with, after which the rest of it is still to come.
        """
        parts = [self.beginning_with(pending)]
        for length in range(1, min(len(pending), self._longest + 1)):
            part = pending[:length]
            begin = bisect_left(self._tokens, part)
            while begin < len(self._tokens) and self._tokens[begin] == part:
                parts.append(self._ids[begin : begin + 1])
                begin += 1
        return np.concatenate(parts)

    def after(self, pending: bytes, chosen: int) -> bytes:
        """What is still pending after the entry ``chosen``, one of those :meth:`allowed`."""
        token = self.token_bytes[chosen]
        assert token.startswith(pending) or pending.startswith(token), "not one of those allowed"
        return pending[len(token) :]

    def _end(self, prefix: bytes, begin: int) -> int:
        """Where the entries end that begin with ``prefix``."""
        following = prefix.rstrip(b"\xff")
        if not following:  # nothing is above all of them
            return len(self._tokens)
        above = following[:-1] + bytes([following[-1] + 1])
        return bisect_left(self._tokens, above, lo=begin)
