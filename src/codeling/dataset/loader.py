"""Documents to rows: which tokens the model sees, in which order.

A row has T + 1 ids, T to read and T to predict. Rows continue one another: the first id of a
row is the last of the row before, so every id is predicted exactly once in an epoch, documents
run over the ends of rows, and each ends in ``<|endoftext|>``. The documents of an epoch come in
an order drawn from the seed and the epoch. A document chosen for infilling is cut into pieces
that fit into what is left of the row; each piece is rearranged and ends in ``<|endoftext|>``.

Where the next row starts is a :class:`Position`, three numbers and an id, so that a run goes on
exactly where it stopped. This module must not know about torch.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from codeling.dataset.infilling import NUM_MARKERS, Infilling
from codeling.dataset.tokens import TokenFile
from codeling.errors import CorpusError
from codeling.tokenizer.tokenizer import Tokenizer

_MIN_INFILLING_ROOM = 32
"""Ids that must be left in a row for a piece to be rearranged in it."""


@dataclass(frozen=True)
class Position:
    """Where the next row starts."""

    epoch: int
    """Times that the whole split has been read."""
    rank: int
    """Place in the epoch's order of the document that comes next."""
    offset: int
    """Ids of that document already given; its length when only ``<|endoftext|>`` is left."""
    carried: int
    """The last id of the row before."""

    def to_json(self) -> dict[str, int]:
        """As plain numbers."""
        return asdict(self)


class Loader:
    """Rows of one split, from any :class:`Position` on."""

    def __init__(
        self,
        tokens: TokenFile,
        tokenizer: Tokenizer,
        context_length: int,
        seed: int,
        infilling: Infilling | None = None,
    ) -> None:
        """Read ``tokens``. :raises CorpusError: they are none."""
        if tokens.num_tokens == 0:
            raise CorpusError("no tokens to train on: the split is empty")
        self._tokens = tokens
        self._tokenizer = tokenizer
        self._context_length = context_length
        self._seed = seed
        self._infilling = infilling

    def start(self) -> Position:
        """The beginning of the first epoch."""
        return Position(epoch=0, rank=0, offset=0, carried=self._tokenizer.end_of_text)

    def rows(self, position: Position) -> Iterator[tuple[NDArray[np.int64], Position]]:
        """Rows of shape (T + 1,) without end, each with the position after it."""
        while True:
            row, position = self._row(position)
            yield row, position

    def batches(
        self, position: Position, num_rows: int
    ) -> Iterator[tuple[NDArray[np.int64], Position]]:
        """``num_rows`` rows at a time, shape (num_rows, T + 1), each with the position after."""
        rows = self.rows(position)
        while True:
            taken = [next(rows) for _ in range(num_rows)]
            yield np.stack([row for row, _ in taken]), taken[-1][1]

    def _row(self, position: Position) -> tuple[NDArray[np.int64], Position]:
        row = [position.carried]
        while len(row) <= self._context_length:
            piece, position = self._piece(position, self._context_length + 1 - len(row))
            row.extend(piece)
        position = Position(position.epoch, position.rank, position.offset, row[-1])
        return np.asarray(row, dtype=np.int64), position

    def _piece(self, position: Position, room: int) -> tuple[list[int], Position]:
        """What comes next, at most ``room`` ids of it, and the position after it."""
        epoch, rank, offset = position.epoch, position.rank, position.offset
        number = int(_order(self._seed, epoch, self._tokens.num_documents)[rank])
        document = self._tokens.document(number)
        piece: list[int] | None = None
        if self._infilling and self._infilling.chooses(epoch, number):
            piece, taken = self._rearranged(
                self._infilling, (epoch, number, offset), document, room
            )
            offset += taken
        if not piece:
            piece = document[offset : offset + room].tolist()
            offset += len(piece)
            if len(piece) < room:
                piece.append(self._tokenizer.end_of_text)
                offset += 1
        elif offset == len(document):
            offset += 1
        if offset > len(document):
            offset, rank = 0, rank + 1
        if rank == self._tokens.num_documents:
            epoch, rank = epoch + 1, 0
        return piece, Position(epoch, rank, offset, position.carried)

    def _rearranged(
        self,
        infilling: Infilling,
        at: tuple[int, int, int],
        document: NDArray[np.unsignedinteger],
        room: int,
    ) -> tuple[list[int], int]:
        """The rearranged piece that starts at ``at``, and how many ids of the document it took.

        Encoding the three parts anew may take a few ids more than the piece had, so less is
        taken until it fits. Nothing is returned where it cannot: too little room or document,
        or a piece that begins or ends within a character.
        """
        left = len(document) - at[2]
        room -= 1  # <|endoftext|>
        taken = min(left, room - NUM_MARKERS)
        while taken >= min(left, _MIN_INFILLING_ROOM - NUM_MARKERS) > 1:
            data = self._tokenizer.decode_bytes(document[at[2] : at[2] + taken].tolist())
            try:
                text = data.decode()
            except UnicodeDecodeError:
                taken -= 1
                continue
            ids = infilling.rearrange(text, self._tokenizer, at)
            if len(ids) <= room:
                return [*ids, self._tokenizer.end_of_text], taken
            taken -= len(ids) - room
        return [], 0


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, num_documents: int) -> NDArray[np.int64]:
    """The documents of one epoch in the order drawn for it."""
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, epoch])))
    return generator.permutation(num_documents)
