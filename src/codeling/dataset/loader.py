"""Documents to rows: which tokens the model sees, in which order.

A long document is taken in chunks of about one context, so that a short run sees a little
of many files and not all of a few. A chunk begins where a definition does, if one is near, as
prompts do. The chunks of an epoch come in an order drawn from the seed and the epoch
(:mod:`codeling.dataset.mixture` says which come first), and each ends in ``<|endoftext|>``. A
row has T + 1 ids, T to read and T to predict. Rows continue one another: the first id of a row
is the last of the row before, so every id is predicted exactly once in an epoch, and chunks
run over the ends of rows. A document chosen for infilling is cut into pieces that fit into what
is left of the row; each piece is rearranged and ends in ``<|endoftext|>``.

The rows of one chunk stand together, and a batch of them would be a batch of one file. So
training takes the rows of a window of :data:`WINDOW_SEQUENCES` in an order drawn for that window.

Where the next row comes from is a :class:`Position`, four numbers and an id, so that a run goes
on exactly where it stopped. This module must not know about torch.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from codeling.dataset.infilling import NUM_MARKERS, Infilling
from codeling.dataset.mixture import balanced_first
from codeling.dataset.rng import Purpose, generator
from codeling.dataset.tokens import TokenFile
from codeling.errors import CorpusError
from codeling.tokenizer.parts import Parts
from codeling.tokenizer.tokenizer import Tokenizer

_MIN_INFILLING_ROOM = 32
"""Ids that must be left in a row for a piece to be rearranged in it."""

BLOCK_CHUNKS = 1024
"""Chunks that are looked up together."""

_STRETCH = 1 << 20

WINDOW_SEQUENCES = 2048
"""Rows that are shuffled among one another."""


@dataclass(frozen=True)
class Position:
    """Where the next sequence starts."""

    epoch: int
    """Complete passes over the split so far."""
    chunk: int
    """Index of the next chunk in the epoch's order."""
    offset: int
    """Ids of that chunk already used; its length if only ``<|endoftext|>`` is left."""
    last_id: int
    """Last id of the previous sequence."""
    num_taken: int = 0
    """Sequences already taken from the shuffled window that starts here."""

    def to_json(self) -> dict[str, int]:
        """The form stored in a checkpoint."""
        return {key: getattr(self, name) for name, key in _STORED_NAMES.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, int]) -> "Position":
        """Read what :meth:`to_json` gave.

        :raises KeyError: a value is missing.
        """
        return cls(**{name: values[key] for name, key in _STORED_NAMES.items()})


_STORED_NAMES = {
    "epoch": "epoch",
    "chunk": "rank",
    "offset": "offset",
    "last_id": "carried",
    "num_taken": "drawn",
}
"""Field of a position → its key in a checkpoint (``docs/formats.md``)."""


@dataclass(frozen=True)
class Mixture:
    """What a run shorter than an epoch reads: repositories in balance."""

    owners: NDArray[np.int64]
    """Number of each document's repository."""
    tokens: int
    """That the run reads in all."""
    exponent: float
    """1 leaves repositories as they are, 0 gives each the same."""


class Loader:
    """Rows of one split, from any :class:`Position` on."""

    def __init__(
        self,
        tokens: TokenFile,
        tokenizer: Tokenizer,
        context_length: int,
        seed: int,
        infilling: Infilling | None = None,
        mixture: Mixture | None = None,
    ) -> None:
        """Read ``tokens``.

        :raises CorpusError: there are no tokens.
        """
        if tokens.num_tokens == 0:
            raise CorpusError("no tokens to train on: the split is empty")
        self._tokens = tokens
        self._tokenizer = tokenizer
        self._context_length = context_length
        self._seed = seed
        self._infilling = infilling
        self._mixture = mixture
        self._orders: dict[int, NDArray[np.int64]] = {}
        self._definitions = _Definitions(tokenizer)
        self._chunk_length = context_length
        """Of a document that is cut, up to the next definition."""
        self._first_chunks = _first_chunks(tokens.offsets, self._chunk_length)
        """Number of each document's first chunk, and of all chunks."""
        self._num_chunks = int(self._first_chunks[-1])
        self._current: _Block | None = None

    def start(self) -> Position:
        """The beginning of the first epoch."""
        return Position(epoch=0, chunk=0, offset=0, last_id=self._tokenizer.end_of_text)

    def sequences(self, position: Position) -> Iterator[tuple[NDArray[np.int64], Position]]:
        """Rows of shape (T + 1,) without end, in the order of their documents, each with the
        position after it.
        """
        while True:
            row, position = self._row(position)
            yield row, position

    def shuffled_sequences(
        self, position: Position
    ) -> Iterator[tuple[NDArray[np.int64], Position]]:
        """The same rows, a window of :data:`WINDOW_SEQUENCES` after another, each in its own order.

        Going on within a window packs it anew first.
        """
        start, drawn = replace(position, num_taken=0), position.num_taken
        while True:
            rows, following = self._window(start)
            for number in range(drawn, WINDOW_SEQUENCES):
                last = number + 1 == WINDOW_SEQUENCES
                yield rows[number], following if last else replace(start, num_taken=number + 1)
            start, drawn = following, 0

    def _window(self, start: Position) -> tuple[NDArray[np.int64], Position]:
        """The rows of the window from ``start`` on, shuffled, and the position after them."""
        packed = list(islice(self.sequences(start), WINDOW_SEQUENCES))
        position = (self._seed, start.epoch, start.chunk, start.offset)
        order = generator(Purpose.WINDOW_ORDER, *position).permutation(WINDOW_SEQUENCES)
        rows = np.stack([row for row, _ in packed])
        return rows[order], packed[-1][1]

    def _row(self, position: Position) -> tuple[NDArray[np.int64], Position]:
        size = self._context_length + 1
        row = np.empty(size, dtype=np.int64)
        row[0], filled = position.last_id, 1
        epoch, rank, offset = position.epoch, position.chunk, position.offset
        end_of_text, all_ids = self._tokenizer.end_of_text, self._tokens.ids
        while filled < size:
            room = size - filled
            block = self._block(epoch, rank)
            place = rank - block.first_rank
            start, length = block.starts[place], block.lengths[place]
            piece: list[int] = []
            if self._infilling and block.is_rearranged(place, self._infilling):
                at = (epoch, block.documents[place], block.begins[place])
                chunk = all_ids[start : start + length]
                piece, taken = self._rearranged(self._infilling, at, chunk, offset, room)
                row[filled : filled + len(piece)] = piece
                filled += len(piece)
                offset += taken
            if piece:
                offset += offset == length
            else:
                taken = min(room, length - offset)
                row[filled : filled + taken] = all_ids[start + offset : start + offset + taken]
                filled += taken
                offset += taken
                if taken < room:
                    row[filled] = end_of_text
                    filled += 1
                    offset += 1
            if offset > length:
                offset, rank = 0, rank + 1
            if rank == self._num_chunks:
                epoch, rank = epoch + 1, 0
        return row, Position(epoch, rank, offset, int(row[-1]))

    def _block(self, epoch: int, rank: int) -> "_Block":
        """The chunks around ``rank``, looked up together."""
        block = self._current
        if block is not None and block.epoch == epoch:
            place = rank - block.first_rank
            if 0 <= place < len(block.lengths):
                return block
        first = rank - rank % BLOCK_CHUNKS
        numbers = self._order(epoch)[first : first + BLOCK_CHUNKS]
        documents, begins, starts, lengths = self._spans(numbers)
        self._current = _Block(
            epoch, first, *(values.tolist() for values in (documents, begins, starts, lengths))
        )
        return self._current

    def _spans(
        self, numbers: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Of chunks: their documents, where in these and in all ids they begin, lengths."""
        documents = np.searchsorted(self._first_chunks, numbers, side="right") - 1
        begins = (numbers - self._first_chunks[documents]) * self._chunk_length
        offsets = self._tokens.offsets
        firsts = offsets[documents].astype(np.int64)
        wholes = offsets[documents + 1].astype(np.int64) - firsts
        ends = np.minimum(begins + self._chunk_length, wholes)
        for place in np.flatnonzero((begins > 0) | (ends < wholes)).tolist():
            ids = self._tokens.document(int(documents[place]))
            begin = int(begins[place])
            begins[place] = self._begin(ids, begin)
            ends[place] = min(self._begin(ids, begin + self._chunk_length), len(ids))
        return documents, begins, firsts + begins, ends - begins

    def _begin(self, ids: NDArray[np.unsignedinteger], nominal: int) -> int:
        """Where the chunk begins that would begin at ``nominal``, were there no definitions."""
        if nominal == 0 or nominal >= len(ids):
            return nominal
        near = self._definitions.first(ids[nominal - 1 : nominal + self._chunk_length])
        return nominal + near

    def _document_lengths(self) -> NDArray[np.int64]:
        offsets: NDArray[np.int64] = self._tokens.offsets.astype(np.int64)
        return offsets[1:] - offsets[:-1]

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """The chunks of one epoch in the order drawn for it."""
        if epoch not in self._orders:
            draws = generator(Purpose.CHUNK_ORDER, self._seed, epoch)
            order = draws.permutation(self._num_chunks)
            if self._mixture is not None:
                order = self._balanced(order, epoch, self._mixture)
            self._orders = {epoch: order}
        return self._orders[epoch]

    def _balanced(
        self, order: NDArray[np.int64], epoch: int, mixture: Mixture
    ) -> NDArray[np.int64]:
        counts = np.diff(self._first_chunks)
        owners = np.repeat(mixture.owners, counts)
        lengths = np.full(len(order), self._chunk_length)
        lengths[self._first_chunks[1:] - 1] -= counts * self._chunk_length
        lengths[self._first_chunks[1:] - 1] += self._document_lengths()
        left = mixture.tokens - epoch * int(lengths.sum() + len(lengths))
        return balanced_first(order, owners, lengths + 1, left, mixture.exponent)

    @cached_property
    def _parts(self) -> Parts:
        return Parts(self._tokenizer)

    def _rearranged(
        self,
        infilling: Infilling,
        at: tuple[int, int, int],
        chunk: NDArray[np.unsignedinteger],
        offset: int,
        room: int,
    ) -> tuple[list[int], int]:
        """The rearranged piece from ``offset`` on, and how many ids of the chunk it took.

        ``at`` is (epoch, document, where the chunk begins in it). Encoding the three parts
        anew may take a few ids more than the piece had, so less is taken until it fits.
        Nothing is returned where it cannot: too little room or chunk, or a piece that begins
        or ends within a character.
        """
        epoch, document, begin = at
        left = len(chunk) - offset
        room -= 1  # <|endoftext|>
        taken = min(left, room - NUM_MARKERS)
        while taken >= min(left, _MIN_INFILLING_ROOM - NUM_MARKERS) > 1:
            data = self._tokenizer.decode_bytes(chunk[offset : offset + taken].tolist())
            try:
                text = data.decode()
            except UnicodeDecodeError:
                taken -= 1
                continue
            place = (epoch, document, begin + offset)
            encode = self._parts.of(text, chunk[offset : offset + taken])
            ids = infilling.rearrange(len(text), self._tokenizer, place, encode)
            if len(ids) <= room:
                return [*ids, self._tokenizer.end_of_text], taken
            taken -= len(ids) - room
        return [], 0


def _first_chunks(offsets: NDArray[np.uint64], chunk_length: int) -> NDArray[np.int64]:
    """Taken a stretch of documents at a time: an index may be a good part of the memory."""
    first = np.zeros(len(offsets), dtype=np.int64)
    for begin in range(0, len(offsets) - 1, _STRETCH):
        part = offsets[begin : begin + _STRETCH + 1].astype(np.int64)
        counts = np.maximum(1, -(-np.diff(part) // chunk_length))
        first[begin + 1 : begin + len(part)] = first[begin] + np.cumsum(counts)
    return first


@dataclass
class _Block:
    """Consecutive chunks of an epoch's order."""

    epoch: int
    first_rank: int
    documents: list[int]
    begins: list[int]
    """Where in its document each chunk begins."""
    starts: list[int]
    """Where in all ids it begins."""
    lengths: list[int]
    _rearranged: dict[int, bool] = field(default_factory=dict)

    def is_rearranged(self, place: int, infilling: Infilling) -> bool:
        """Whether infilling has chosen the document of a chunk; drawn once."""
        chosen = self._rearranged.get(place)
        if chosen is None:
            chosen = infilling.chooses(self.epoch, self.documents[place])
            self._rearranged[place] = chosen
        return chosen


class _Definitions:
    """Where lines begin with ``def``, ``class``, ``async`` or a decorator, in ids."""

    _WORD = re.compile(rb" ?(?:def|class|async)")
    _DECORATOR = re.compile(rb" ?@")
    _WORD_GOES_ON = re.compile(rb"[\w\x80-\xff]")

    def __init__(self, tokenizer: Tokenizer) -> None:
        pieces = tokenizer.token_bytes
        self._word = np.array([bool(self._WORD.fullmatch(piece)) for piece in pieces])
        self._decorator = np.array([bool(self._DECORATOR.match(piece)) for piece in pieces])
        self._goes_on = np.array([bool(self._WORD_GOES_ON.match(piece)) for piece in pieces])
        self._blank = np.array([bool(piece) and not piece.strip(b" \t") for piece in pieces])
        self._ends_line = np.array([piece.endswith(b"\n") for piece in pieces])

    def first(self, ids: NDArray[np.unsignedinteger]) -> int:
        """Ids from the second of ``ids`` up to where the first such line begins; 0 if none does."""
        starts, at_line = self._word[ids[1:]], self._ends_line[ids[:-1]]
        starts[:-1] &= ~self._goes_on[ids[2:]]
        starts |= self._decorator[ids[1:]]
        indented = np.zeros_like(starts)
        indented[:-1] = self._blank[ids[1:-1]] & starts[1:]
        found = np.flatnonzero(at_line & (starts | indented))
        return int(found[0]) if len(found) else 0
