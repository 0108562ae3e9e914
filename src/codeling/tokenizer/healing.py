"""Token healing: find the tokens that may continue a text which ends within a token.

A prompt that ends within a word, an operator or an indentation is cut into tokens that the model
has rarely seen before what comes next. Healing removes the last tokens of such a prompt and
requires that the next tokens begin with their bytes. Entries are looked up in a sorted table, a
flat trie: entries with the same prefix are adjacent. This module must not know models or torch, and
makes no random choice. Source: Lundberg and Ribeiro 2023, "Prompt boundaries and token healing"
(guidance).
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Healed:
    """A prompt whose end was removed."""

    ids: list[int]
    """Ids that the model reads."""
    pending: bytes
    """Bytes that the next tokens must begin with; empty if nothing was removed."""


class Vocabulary:
    """The entries of a tokenizer, searchable by prefix."""

    def __init__(self, token_bytes: Sequence[bytes]) -> None:
        """``token_bytes``: the bytes of each id. Special tokens have none and are never found."""
        self.token_bytes = tuple(token_bytes)
        """The bytes of each id."""
        order = sorted((token, i) for i, token in enumerate(token_bytes) if token)
        self._tokens = [token for token, _ in order]
        self._ids = np.array([i for _, i in order], np.int64)
        self._longest = max(map(len, self._tokens), default=0)

    def beginning_with(self, prefix: bytes) -> NDArray[np.int64]:
        """Ids of the entries that begin with or equal ``prefix``, sorted by their bytes."""
        begin = bisect_left(self._tokens, prefix)
        return self._ids[begin : self._end(prefix, begin)]

    def extends(self, prefix: bytes) -> bool:
        """Whether a longer entry begins with ``prefix``."""
        begin = bisect_left(self._tokens, prefix)
        while begin < len(self._tokens) and self._tokens[begin] == prefix:
            begin += 1
        return begin < len(self._tokens) and self._tokens[begin].startswith(prefix)

    def heal(self, ids: Sequence[int]) -> Healed:
        """Remove the longest end of ``ids`` whose bytes are a proper prefix of an entry.

        Special tokens, and all tokens before them, are kept.
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

    def without_end(self, ids: Sequence[int], num_bytes: int) -> list[int]:
        """``ids`` without the last tokens, which have ``num_bytes`` together."""
        keep = len(ids)
        while num_bytes > 0:
            keep -= 1
            num_bytes -= len(self.token_bytes[ids[keep]])
        return list(ids[:keep])

    def allowed(self, pending: bytes) -> NDArray[np.int64]:
        """Ids of the entries that may come next.

        They begin with ``pending``, or ``pending`` begins with them and its rest follows.
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
        """The bytes still pending after ``chosen``, which :meth:`allowed` must contain."""
        token = self.token_bytes[chosen]
        assert token.startswith(pending) or pending.startswith(token), "the entry is not allowed"
        return pending[len(token) :]

    def _end(self, prefix: bytes, begin: int) -> int:
        """End of the entries that begin with ``prefix``."""
        following = prefix.rstrip(b"\xff")
        if not following:  # no entry is larger
            return len(self._tokens)
        above = following[:-1] + bytes([following[-1] + 1])
        return bisect_left(self._tokens, above, lo=begin)
