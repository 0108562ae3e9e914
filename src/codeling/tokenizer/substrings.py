"""Encode substrings of a text whose ids are known, by encoding only the two ends again.

A boundary is a space after a visible ASCII character. Text before and after it is encoded
independently, because no piece of our pre-tokenizers spans it and none looks across it. Between two
boundaries a substring therefore has the ids of the whole text. This module must not know what the
substrings are for.
"""

import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from codeling.tokenizer.tokenizer import Tokenizer

Encode = Callable[[int, int], list[int]]
"""(start, end), in characters → ids of that substring."""

_ACROSS = re.compile(rb"[!-~] ")


class SubstringEncoder:
    """Encodes substrings with one tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Where the tokenizer has an entry across a boundary, whole substrings are encoded."""
        pieces = tokenizer.token_bytes
        has_boundaries = not any(_ACROSS.search(piece) for piece in pieces)
        self._tokenizer = tokenizer
        self._lengths = np.array([len(piece) for piece in pieces])
        self._starts_with_space = np.array(
            [has_boundaries and piece.startswith(b" ") for piece in pieces]
        )
        self._ends_visible = np.array([b"!" <= piece[-1:] <= b"~" for piece in pieces])

    def encoder(self, text: str, ids: NDArray[np.unsignedinteger]) -> Encode:
        """A function from (start, end) to the ids that :meth:`Tokenizer.encode` gives there.

        ``ids`` (N,) are the ids of ``text`` as a part of a document. At its ends they may differ
        from the ids of ``text`` alone.
        """
        encode, is_ascii = self._tokenizer.encode, text.isascii()
        places = np.flatnonzero(self._ends_visible[ids[:-1]] & self._starts_with_space[ids[1:]]) + 1
        offsets = np.cumsum(self._lengths[ids])[places - 1]
        data = text.encode()

        def encode_substring(start: int, end: int) -> list[int]:
            if not is_ascii:
                start, end = (len(text[:place].encode()) for place in (start, end))
            first, stop = np.searchsorted(offsets, start), np.searchsorted(offsets, end, "right")
            if stop - first < 2:
                return encode(data[start:end].decode())
            head = data[start : offsets[first]].decode()
            tail = data[offsets[stop - 1] : end].decode()
            return [*encode(head), *ids[places[first] : places[stop - 1]].tolist(), *encode(tail)]

        return encode_substring
