r"""Ids of parts of a text whose own ids are known: only the ends of a part are encoded anew.

What stands before a blank and what stands from it on are encoded independently, where the
character before is visible ASCII: no cut of ours takes both into one piece, and none looks across.
So between two such places a part has the ids that the whole has, whatever is cut off around
them. This module must not know why somebody wants a part.
"""

import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from codeling.tokenizer.tokenizer import Tokenizer

Encode = Callable[[int, int], list[int]]
"""From two places in a text, in characters, to the ids of what stands between them."""

_ACROSS = re.compile(rb"[!-~] ")


class Parts:
    """The places in the ids of one tokenizer where texts fall apart."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """A tokenizer with an entry across such a place has none: all is encoded anew then."""
        pieces = tokenizer.token_bytes
        falls_apart = not any(_ACROSS.search(piece) for piece in pieces)
        self._tokenizer = tokenizer
        self._lengths = np.array([len(piece) for piece in pieces])
        self._begins = np.array([falls_apart and piece.startswith(b" ") for piece in pieces])
        self._ends = np.array([b"!" <= piece[-1:] <= b"~" for piece in pieces])

    def of(self, text: str, ids: NDArray[np.unsignedinteger]) -> Encode:
        """What gives the ids of any part of ``text``.

        They are those of :meth:`Tokenizer.encode`. ``ids`` (N,) are the whole's as it stands in a
        document, so those at its own ends may be others than ``encode`` gives.
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
