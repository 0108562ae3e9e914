"""Documents to rows: which tokens the model sees, in which order.

A long document is taken in sections of about four contexts, so that a short run sees a little
of many files and not all of a few. A section begins where a definition does, if one is near, as
prompts do. The sections of an epoch come in an order drawn from the seed and the epoch
(:mod:`codeling.dataset.mixture` says which come first), and each ends in ``<|endoftext|>``. A
row has T + 1 ids, T to read and T to predict. Rows continue one another: the first id of a row
is the last of the row before, so every id is predicted exactly once in an epoch, and sections
run over the ends of rows. A document chosen for infilling is cut into pieces that fit into what
is left of the row; each piece is rearranged and ends in ``<|endoftext|>``.

The rows of one section stand together, and a batch of them would be a batch of one file. So
training takes the rows of a window of :data:`WINDOW_ROWS` in an order drawn for that window.

Where the next row comes from is a :class:`Position`, four numbers and an id, so that a run goes
on exactly where it stopped. This module must not know about torch.
"""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from codeling.dataset.draws import Purpose, generator
from codeling.dataset.infilling import NUM_MARKERS, Infilling
from codeling.dataset.mixture import balanced_first
from codeling.dataset.tokens import TokenFile
from codeling.errors import CorpusError
from codeling.tokenizer.tokenizer import Tokenizer

SECTION_CONTEXTS = 4
"""Contexts that a section of a document is long, up to the next definition."""

_MIN_INFILLING_ROOM = 32
"""Ids that must be left in a row for a piece to be rearranged in it."""

WINDOW_ROWS = 2048
"""Rows that are shuffled among one another."""


@dataclass(frozen=True)
class Position:
    """Where the next row comes from."""

    epoch: int
    """Times that the whole split has been read."""
    rank: int
    """Place in the epoch's order of the section that comes next."""
    offset: int
    """Ids of that section already given; its length when only ``<|endoftext|>`` is left."""
    carried: int
    """The last id of the row before."""
    drawn: int = 0
    """Rows already given of the shuffled window that starts here."""

    def to_json(self) -> dict[str, int]:
        """As plain numbers."""
        return asdict(self)


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
        """Read ``tokens``. :raises CorpusError: they are none."""
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
        self._section_length = SECTION_CONTEXTS * context_length
        counts = np.maximum(1, -(-self._document_lengths() // self._section_length))
        self._first_sections = np.concatenate([[0], np.cumsum(counts)])
        """Number of each document's first section, and of all sections."""

    def start(self) -> Position:
        """The beginning of the first epoch."""
        return Position(epoch=0, rank=0, offset=0, carried=self._tokenizer.end_of_text)

    def rows(self, position: Position) -> Iterator[tuple[NDArray[np.int64], Position]]:
        """Rows of shape (T + 1,) without end, in the order of their documents, each with the
        position after it.
        """
        while True:
            row, position = self._row(position)
            yield row, position

    def shuffled_rows(self, position: Position) -> Iterator[tuple[NDArray[np.int64], Position]]:
        """The same rows, a window of :data:`WINDOW_ROWS` after another, each in its own order.

        Going on within a window packs it anew first.
        """
        start, drawn = replace(position, drawn=0), position.drawn
        while True:
            rows, following = self._window(start)
            for number in range(drawn, WINDOW_ROWS):
                last = number + 1 == WINDOW_ROWS
                yield rows[number], following if last else replace(start, drawn=number + 1)
            start, drawn = following, 0

    def _window(self, start: Position) -> tuple[NDArray[np.int64], Position]:
        """The rows of the window from ``start`` on, shuffled, and the position after them."""
        packed = list(islice(self.rows(start), WINDOW_ROWS))
        position = (self._seed, start.epoch, start.rank, start.offset)
        order = generator(Purpose.WINDOW_ORDER, *position).permutation(WINDOW_ROWS)
        rows = np.stack([row for row, _ in packed])
        return rows[order], packed[-1][1]

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
        num_sections = int(self._first_sections[-1])
        number, begin, section = self._section(int(self._order(epoch)[rank]))
        piece: list[int] | None = None
        if self._infilling and self._infilling.chooses(epoch, number):
            piece, taken = self._rearranged(
                self._infilling, (epoch, number, begin), section, offset, room
            )
            offset += taken
        if not piece:
            piece = section[offset : offset + room].tolist()
            offset += len(piece)
            if len(piece) < room:
                piece.append(self._tokenizer.end_of_text)
                offset += 1
        elif offset == len(section):
            offset += 1
        if offset > len(section):
            offset, rank = 0, rank + 1
        if rank == num_sections:
            epoch, rank = epoch + 1, 0
        return piece, Position(epoch, rank, offset, position.carried)

    def _section(self, number: int) -> tuple[int, int, NDArray[np.unsignedinteger]]:
        """The document of a section, where in it the section begins, and the section's ids."""
        document = int(np.searchsorted(self._first_sections, number, side="right")) - 1
        ids = self._tokens.document(document)
        nominal = (number - int(self._first_sections[document])) * self._section_length
        begin = self._begin(ids, nominal)
        return document, begin, ids[begin : self._begin(ids, nominal + self._section_length)]

    def _begin(self, ids: NDArray[np.unsignedinteger], nominal: int) -> int:
        """Where the section begins that would begin at ``nominal``, were there no definitions."""
        if nominal == 0 or nominal >= len(ids):
            return nominal
        near = self._definitions.first(ids[nominal - 1 : nominal + self._section_length])
        return nominal + near

    def _document_lengths(self) -> NDArray[np.int64]:
        offsets: NDArray[np.int64] = self._tokens.offsets.astype(np.int64)
        return offsets[1:] - offsets[:-1]

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """The sections of one epoch in the order drawn for it."""
        if epoch not in self._orders:
            num_sections = int(self._first_sections[-1])
            order = generator(Purpose.SECTION_ORDER, self._seed, epoch).permutation(num_sections)
            if self._mixture is not None:
                order = self._balanced(order, epoch, self._mixture)
            self._orders = {epoch: order}
        return self._orders[epoch]

    def _balanced(
        self, order: NDArray[np.int64], epoch: int, mixture: Mixture
    ) -> NDArray[np.int64]:
        counts = np.diff(self._first_sections)
        owners = np.repeat(mixture.owners, counts)
        lengths = np.full(len(order), self._section_length)
        lengths[self._first_sections[1:] - 1] -= counts * self._section_length
        lengths[self._first_sections[1:] - 1] += self._document_lengths()
        left = mixture.tokens - epoch * int(lengths.sum() + len(lengths))
        return balanced_first(order, owners, lengths + 1, left, mixture.exponent)

    def _rearranged(
        self,
        infilling: Infilling,
        at: tuple[int, int, int],
        section: NDArray[np.unsignedinteger],
        offset: int,
        room: int,
    ) -> tuple[list[int], int]:
        """The rearranged piece from ``offset`` on, and how many ids of the section it took.

        ``at`` is (epoch, document, where the section begins in it). Encoding the three parts
        anew may take a few ids more than the piece had, so less is taken until it fits.
        Nothing is returned where it cannot: too little room or section, or a piece that begins
        or ends within a character.
        """
        epoch, document, begin = at
        left = len(section) - offset
        room -= 1  # <|endoftext|>
        taken = min(left, room - NUM_MARKERS)
        while taken >= min(left, _MIN_INFILLING_ROOM - NUM_MARKERS) > 1:
            data = self._tokenizer.decode_bytes(section[offset : offset + taken].tolist())
            try:
                text = data.decode()
            except UnicodeDecodeError:
                taken -= 1
                continue
            ids = infilling.rearrange(text, self._tokenizer, (epoch, document, begin + offset))
            if len(ids) <= room:
                return [*ids, self._tokenizer.end_of_text], taken
            taken -= len(ids) - room
        return [], 0


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
