r"""Ids of a part of a text whose ids are known: only the ends of the part are encoded again.

Text before a space and text from the space on are encoded independently if the character before it
is visible ASCII: neither of our pre-tokenizers has a piece across that boundary or looks across it.
So between two such boundaries a part has the ids of the whole text. This module must not know what
parts are for.
"""

import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from codeling.tokenizer.tokenizer import Tokenizer

Encode = Callable[[int, int], list[int]]
"""(begin, end), in characters → ids of that part of a text."""

_ACROSS = re.compile(rb"[!-~] ")


class Parts:
    """Finds the boundaries of texts for one tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """If the tokenizer has an entry across such a boundary, parts are encoded as a whole."""
        pieces = tokenizer.token_bytes
        has_boundaries = not any(_ACROSS.search(piece) for piece in pieces)
        self._tokenizer = tokenizer
        self._lengths = np.array([len(piece) for piece in pieces])
        self._begins = np.array([has_boundaries and piece.startswith(b" ") for piece in pieces])
        self._ends = np.array([b"!" <= piece[-1:] <= b"~" for piece in pieces])

    def encoder(self, text: str, ids: NDArray[np.unsignedinteger]) -> Encode:
        """A function that gives the ids of any part of ``text``, as :meth:`Tokenizer.encode` does.

        ``ids`` (N,) are the ids of ``text`` within a document. At its ends they may differ from
        those of ``encode``.
        """
        encode, is_ascii = self._tokenizer.encode, text.isascii()
        places = np.flatnonzero(self._ends[ids[:-1]] & self._begins[ids[1:]]) + 1
        offsets = np.cumsum(self._lengths[ids])[places - 1]
        data = text.encode()

        def part(begin: int, end: int) -> list[int]:
            if not is_ascii:
                begin, end = (len(text[:place].encode()) for place in (begin, end))
            first, stop = np.searchsorted(offsets, begin), np.searchsorted(offsets, end, "right")
            if stop - first < 2:
                return encode(data[begin:end].decode())
            head = data[begin : offsets[first]].decode()
            tail = data[offsets[stop - 1] : end].decode()
            return [*encode(head), *ids[places[first] : places[stop - 1]].tolist(), *encode(tail)]

        return part
