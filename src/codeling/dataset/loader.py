"""Documents to training sequences: which tokens the model sees, in which order.

A long document is divided into chunks of about one context, so that a short run sees a little of
many files instead of all of a few. A chunk starts at a definition if one is near, as prompts do.
The chunks of an epoch are read in an order drawn from the seed and the epoch
(:mod:`codeling.dataset.mixture` decides which come first), and each ends with ``<|endoftext|>``.

A sequence has T + 1 ids: T inputs and, shifted by one, T targets. The first id of a sequence is the
last id of the previous one, so every id is predicted exactly once per epoch. Chunks are packed one
after another and may span sequences. A document that is selected for infilling is divided into
pieces that fit into the rest of the sequence. Each piece is rearranged and ends with
``<|endoftext|>``.

The sequences of one chunk are adjacent, so a batch of them would come from one file. Training
therefore shuffles the sequences within windows of :data:`WINDOW_SEQUENCES`.

A :class:`Position` is where the next sequence starts, so a run resumes exactly where it stopped.
This module must not know torch.
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
from codeling.tokenizer.substrings import SubstringEncoder
from codeling.tokenizer.tokenizer import Tokenizer

_MIN_INFILLING_IDS = 32
"""Infilling needs at least this many ids of the sequence to be left."""

BLOCK_CHUNKS = 1024
"""Chunks that are looked up together."""

_SLICE_DOCUMENTS = 1 << 20

WINDOW_SEQUENCES = 2048
"""Sequences that are shuffled together."""


@dataclass(frozen=True)
class Position:
    """The start of the next sequence."""

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
    """How to balance repositories in a run that is shorter than an epoch."""

    owners: NDArray[np.int64]
    """Number of each document's repository, (D,)."""
    tokens: int
    """Tokens that the whole run reads."""
    exponent: float
    """1: in proportion to their size, 0: the same amount of each."""


class Loader:
    """Sequences of one split, from any :class:`Position`."""

    def __init__(
        self,
        tokens: TokenFile,
        tokenizer: Tokenizer,
        context_length: int,
        seed: int,
        infilling: Infilling | None = None,
        mixture: Mixture | None = None,
    ) -> None:
        """Read ``tokens`` in sequences of ``context_length + 1`` ids.

        :raises CorpusError: the split is empty.
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
        """Ids of a chunk before its start is moved to the next definition."""
        self._first_chunks = _first_chunks(tokens.offsets, self._chunk_length)
        """(D + 1,): number of each document's first chunk; last, the number of chunks."""
        self._num_chunks = int(self._first_chunks[-1])
        self._current: _Block | None = None

    def start(self) -> Position:
        """The position at the beginning of the first epoch."""
        return Position(epoch=0, chunk=0, offset=0, last_id=self._tokenizer.end_of_text)

    def sequences(self, position: Position) -> Iterator[tuple[NDArray[np.int64], Position]]:
        """Yield sequences (T + 1,) in chunk order, without end, each with the position after it."""
        while True:
            sequence, position = self._sequence(position)
            yield sequence, position

    def shuffled_sequences(
        self, position: Position
    ) -> Iterator[tuple[NDArray[np.int64], Position]]:
        """Yield the same sequences, shuffled within windows of :data:`WINDOW_SEQUENCES`.

        Resuming within a window packs the whole window first.
        """
        start, num_taken = replace(position, num_taken=0), position.num_taken
        while True:
            sequences, following = self._window(start)
            for number in range(num_taken, WINDOW_SEQUENCES):
                last = number + 1 == WINDOW_SEQUENCES
                after = following if last else replace(start, num_taken=number + 1)
                yield sequences[number], after
            start, num_taken = following, 0

    def _window(self, start: Position) -> tuple[NDArray[np.int64], Position]:
        """The shuffled sequences of the window at ``start``, and the position after them."""
        packed = list(islice(self.sequences(start), WINDOW_SEQUENCES))
        position = (self._seed, start.epoch, start.chunk, start.offset)
        order = generator(Purpose.WINDOW_ORDER, *position).permutation(WINDOW_SEQUENCES)
        sequences = np.stack([sequence for sequence, _ in packed])
        return sequences[order], packed[-1][1]

    def _sequence(self, position: Position) -> tuple[NDArray[np.int64], Position]:
        size = self._context_length + 1
        sequence = np.empty(size, dtype=np.int64)
        sequence[0], filled = position.last_id, 1
        epoch, index, offset = position.epoch, position.chunk, position.offset
        end_of_text, all_ids = self._tokenizer.end_of_text, self._tokens.ids
        while filled < size:
            left = size - filled
            block = self._block(epoch, index)
            place = index - block.first_index
            start, length = block.starts[place], block.lengths[place]
            piece: list[int] = []
            if self._infilling and block.is_rearranged(place, self._infilling):
                origin = (epoch, block.documents[place], block.local_starts[place])
                chunk = all_ids[start : start + length]
                piece, taken = self._rearranged(self._infilling, origin, chunk, offset, left)
                sequence[filled : filled + len(piece)] = piece
                filled += len(piece)
                offset += taken
            if piece:
                offset += offset == length
            else:
                taken = min(left, length - offset)
                sequence[filled : filled + taken] = all_ids[start + offset : start + offset + taken]
                filled += taken
                offset += taken
                if taken < left:
                    sequence[filled] = end_of_text
                    filled += 1
                    offset += 1
            if offset > length:
                offset, index = 0, index + 1
            if index == self._num_chunks:
                epoch, index = epoch + 1, 0
        return sequence, Position(epoch, index, offset, int(sequence[-1]))

    def _block(self, epoch: int, index: int) -> "_Block":
        """The block of chunks around ``index`` in the epoch's order."""
        block = self._current
        if block is not None and block.epoch == epoch:
            place = index - block.first_index
            if 0 <= place < len(block.lengths):
                return block
        first = index - index % BLOCK_CHUNKS
        numbers = self._order(epoch)[first : first + BLOCK_CHUNKS]
        documents, local_starts, starts, lengths = self._spans(numbers)
        self._current = _Block(
            epoch,
            first,
            *(values.tolist() for values in (documents, local_starts, starts, lengths)),
        )
        return self._current

    def _spans(
        self, numbers: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """For chunks (N,): document, start in the document, start in all ids, and length."""
        documents = np.searchsorted(self._first_chunks, numbers, side="right") - 1
        local_starts = (numbers - self._first_chunks[documents]) * self._chunk_length
        offsets = self._tokens.offsets
        firsts = offsets[documents].astype(np.int64)
        wholes = offsets[documents + 1].astype(np.int64) - firsts
        ends = np.minimum(local_starts + self._chunk_length, wholes)
        for place in np.flatnonzero((local_starts > 0) | (ends < wholes)).tolist():
            ids = self._tokens.document(int(documents[place]))
            nominal = int(local_starts[place])
            local_starts[place] = self._chunk_start(ids, nominal)
            ends[place] = min(self._chunk_start(ids, nominal + self._chunk_length), len(ids))
        return documents, local_starts, firsts + local_starts, ends - local_starts

    def _chunk_start(self, ids: NDArray[np.unsignedinteger], nominal: int) -> int:
        """Start of a chunk: the next definition after ``nominal``, else ``nominal``."""
        if nominal == 0 or nominal >= len(ids):
            return nominal
        near = self._definitions.first(ids[nominal - 1 : nominal + self._chunk_length])
        return nominal + near

    def _document_lengths(self) -> NDArray[np.int64]:
        offsets: NDArray[np.int64] = self._tokens.offsets.astype(np.int64)
        return offsets[1:] - offsets[:-1]

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """The order of the chunks in one epoch, (S,)."""
        if epoch not in self._orders:
            random = generator(Purpose.CHUNK_ORDER, self._seed, epoch)
            order = random.permutation(self._num_chunks)
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
    def _substring_encoder(self) -> SubstringEncoder:
        return SubstringEncoder(self._tokenizer)

    def _rearranged(
        self,
        infilling: Infilling,
        origin: tuple[int, int, int],
        chunk: NDArray[np.unsignedinteger],
        offset: int,
        space: int,
    ) -> tuple[list[int], int]:
        """Rearrange the piece of ``chunk`` that starts at ``offset``.

        Returns its ids, at most ``space`` with ``<|endoftext|>``, and the number of ids taken from
        the chunk. Encoding the three parts may give a few ids more than the piece had, so the piece
        is shortened until it fits. Returns no ids if there is too little space or chunk, or if the
        piece begins or ends within a character. ``origin`` is (epoch, document, start of the chunk
        in the document).
        """
        epoch, document, start = origin
        left = len(chunk) - offset
        space -= 1  # <|endoftext|>
        taken = min(left, space - NUM_MARKERS)
        while taken >= min(left, _MIN_INFILLING_IDS - NUM_MARKERS) > 1:
            data = self._tokenizer.decode_bytes(chunk[offset : offset + taken].tolist())
            try:
                text = data.decode()
            except UnicodeDecodeError:
                taken -= 1
                continue
            place = (epoch, document, start + offset)
            encode = self._substring_encoder.encoder(text, chunk[offset : offset + taken])
            ids = infilling.rearrange(text, self._tokenizer, place, encode)
            if len(ids) <= space:
                return [*ids, self._tokenizer.end_of_text], taken
            taken -= len(ids) - space
        return [], 0


def _first_chunks(offsets: NDArray[np.uint64], chunk_length: int) -> NDArray[np.int64]:
    """(D + 1,): number of each document's first chunk; last, the number of chunks.

    Works on slices of the index, which may fill a good part of the memory.
    """
    first = np.zeros(len(offsets), dtype=np.int64)
    for start in range(0, len(offsets) - 1, _SLICE_DOCUMENTS):
        part = offsets[start : start + _SLICE_DOCUMENTS + 1].astype(np.int64)
        counts = np.maximum(1, -(-np.diff(part) // chunk_length))
        first[start + 1 : start + len(part)] = first[start] + np.cumsum(counts)
    return first


@dataclass
class _Block:
    """Consecutive chunks in an epoch's order."""

    epoch: int
    first_index: int
    documents: list[int]
    local_starts: list[int]
    """Start of each chunk in its document."""
    starts: list[int]
    """Start of each chunk in all ids."""
    lengths: list[int]
    _rearranged: dict[int, bool] = field(default_factory=dict)

    def is_rearranged(self, place: int, infilling: Infilling) -> bool:
        """Whether the document of a chunk is selected for infilling; cached."""
        chosen = self._rearranged.get(place)
        if chosen is None:
            chosen = infilling.chooses(self.epoch, self.documents[place])
            self._rearranged[place] = chosen
        return chosen


class _Definitions:
    """Finds lines that start with ``def``, ``class``, ``async`` or a decorator, in ids."""

    _WORD = re.compile(rb" ?(?:def|class|async)")
    _DECORATOR = re.compile(rb" ?@")
    _WORD_CHARACTER = re.compile(rb"[\w\x80-\xff]")

    def __init__(self, tokenizer: Tokenizer) -> None:
        pieces = tokenizer.token_bytes
        self._word = [bool(self._WORD.fullmatch(piece)) for piece in pieces]
        self._decorator = [bool(self._DECORATOR.match(piece)) for piece in pieces]
        self._continues_word = [bool(self._WORD_CHARACTER.match(piece)) for piece in pieces]
        self._blank = [bool(piece) and not piece.strip(b" \t") for piece in pieces]
        self._ends_line = [piece.endswith(b"\n") for piece in pieces]
        self._is_candidate = np.array(self._word) | np.array(self._decorator)

    def first(self, ids: NDArray[np.unsignedinteger]) -> int:
        """Offset from ``ids[1]`` to the first such line; 0 if there is none."""
        for place in np.flatnonzero(self._is_candidate[ids[1:]]).tolist():
            # The candidate is ids[place + 1]; one blank token may precede it on its line.
            before, this, *after = ids[place : place + 3].tolist()
            if not self._decorator[this] and after and self._continues_word[after[0]]:
                continue
            if self._ends_line[before]:
                return int(place)
            if place and self._blank[before] and self._ends_line[ids[place - 1]]:
                return int(place) - 1
        return 0
