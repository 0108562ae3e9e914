"""Index of the training corpus: find the repository, path, lines and licence of every passage of
a text that also occurs in the corpus and has at least ``GUARANTEE`` lexemes.

:mod:`codeling.provenance.winnowing` chooses the K-grams of lexemes to look up. Beside them the
index stores one byte per lexeme of the whole corpus: a candidate is verified and extended lexeme
by lexeme, so a match has its true length (each end may reach one lexeme too far with probability
1/256).

The index is memory-mapped and takes about half a byte per byte of Python. It consists of parts
(:mod:`codeling.provenance.index_file`): ``index.safetensors``, and for a corpus of more than 2³²
lexemes ``index-2.safetensors`` and so on. All parts are searched together, so a text has the same
matches however the corpus is divided.

Indexing 60 MB of installed packages took 1.5 s on one core and 80 MB of memory. This module must
not import torch, daft or pyarrow.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import accumulate, count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codeling.errors import InputError, UsageError, storage_errors
from codeling.manifest import replacing
from codeling.progress import SILENT, Progress
from codeling.provenance.index_file import (
    MAX_LEXEMES,
    IndexedDocument,
    IndexPartWriter,
    Part,
    change_settings,
    read_part,
)
from codeling.provenance.passages import Passage, Run, best, join
from codeling.provenance.winnowing import GUARANTEE, K, LexedTexts, lex
from codeling.quantity import quantity

INDEX_NAME = "index.safetensors"
MAX_OCCURRENCES = 256
"""Maximum number of occurrences of one fingerprint that are examined, in corpus order. A passage
that is more common is found, but not at all of its places."""

_BLOCK_BYTES = 1 << 20
_BYTES_PER_LEXEME = 2.8
"""Bytes of Python per lexeme in the densest code; 4 to 5 are usual."""
_INDEX_BYTES_PER_BYTE = 0.6
_MEMORY_PER_BYTE = 0.35
"""Sorting holds the fingerprints twice: 8 bytes each, one per eleven lexemes."""
_BASE_MEMORY = 100_000_000

U8 = NDArray[np.uint8]
U64 = NDArray[np.uint64]


@dataclass(frozen=True)
class IndexSize:
    """Upper bounds for the index of a corpus, known before it is built."""

    num_parts: int
    disk_bytes: int
    memory_bytes: int
    """Peak memory while the index is built."""

    def __str__(self) -> str:
        return (
            f"up to {_size(self.disk_bytes)} in {quantity(self.num_parts, 'file')}, built with up "
            f"to {_size(self.memory_bytes)} of memory"
        )


def _size(num_bytes: int) -> str:
    """Rounded up."""
    if num_bytes < 1e9:
        return f"{math.ceil(num_bytes / 1e6):,} MB"
    return f"{math.ceil(num_bytes / 1e8) / 10:,.1f} GB"


def expected_size(num_bytes: int) -> IndexSize:
    """Size of the index of ``num_bytes`` of Python; no corpus is too large for one."""
    part_bytes = int(MAX_LEXEMES * _BYTES_PER_LEXEME)
    return IndexSize(
        num_parts=max(1, -(-num_bytes // part_bytes)),
        disk_bytes=math.ceil(num_bytes * _INDEX_BYTES_PER_BYTE),
        memory_bytes=_BASE_MEMORY + math.ceil(min(num_bytes, part_bytes) * _MEMORY_PER_BYTE),
    )


def build(
    documents: Iterable[IndexedDocument],
    folder: Path,
    progress: Progress = SILENT,
    *,
    total: int | None = None,
) -> None:
    """Write the index of ``documents``, in their order, to ``folder``.

    ``total`` is the number of documents, if known. The same documents give the same bytes. The
    fingerprints of one part are held in memory until they are sorted (8 bytes each, one per eleven
    lexemes); everything else is written as it comes. All parts appear together or not at all.

    :raises CorpusError: one document has more than 2³² lexemes.
    :raises StorageError: the folder cannot be written.
    """
    with ExitStack() as files, progress.task("provenance", total, "documents") as advance:
        blocks = ((block, lex([each.text for each in block])) for block in _blocks(documents))
        following = next(blocks, None)
        partials: list[Path] = []
        while following is not None or not partials:
            settings = {"part": len(partials) + 1} if partials else {}
            # Renamed in reverse order: the first part, which knows how many there are, comes last.
            partials.append(files.enter_context(replacing(_part_path(folder, len(partials) + 1))))
            with partials[-1].open("wb") as file:
                part = IndexPartWriter(file)
                while following is not None and part.has_space(len(following[1].lexemes)):
                    part.add(*following)
                    advance(len(following[0]))
                    following = next(blocks, None)
                part.close(settings)
        if len(partials) > 1:
            change_settings(partials[0], {"parts": len(partials)})
    _remove_parts(folder, len(partials) + 1)


def _part_path(folder: Path, number: int) -> Path:
    """The file of part ``number``, from 1."""
    return folder / (INDEX_NAME if number == 1 else f"index-{number}.safetensors")


def _remove_parts(folder: Path, first: int) -> None:
    """Remove the parts from ``first`` on that an index of a larger corpus has left."""
    with storage_errors(folder):
        for number in count(first):
            if not (path := _part_path(folder, number)).exists():
                return
            path.unlink()


def _blocks(documents: Iterable[IndexedDocument]) -> Iterator[list[IndexedDocument]]:
    """Consecutive documents, about a megabyte at a time."""
    block: list[IndexedDocument] = []
    size = 0
    for document in documents:
        block.append(document)
        size += len(document.text)
        if size >= _BLOCK_BYTES:
            yield block
            block, size = [], 0
    if block:
        yield block


@dataclass(frozen=True)
class Match:
    """A passage of the text that also occurs in one training document. Lines count from 1."""

    text_start_line: int
    text_end_line: int
    repository: str
    path: str
    start_line: int
    end_line: int
    license: str
    """Licence of the document in the corpus; empty if unknown."""
    url: str
    """URL of the passage, with its lines if the form of the URL allows it; empty if unknown."""
    num_lexemes: int
    """Lexemes that agree, in order."""
    share: float
    """Lexemes that agree over all lexemes, 0 to 1; both on the traced lines only."""
    max_occurrences: int
    """Upper bound on the number of occurrences in the corpus; 1: nowhere else."""


class Index:
    """An index on disk, memory-mapped. :meth:`load` opens one.

    Documents and lexemes are numbered through all parts.
    """

    def __init__(self, path: Path, parts: Sequence[Part]) -> None:
        self._path = path
        self._parts = parts
        self._first_documents = _starts(part.num_documents for part in parts)
        self._first_lexemes = _starts(part.num_lexemes for part in parts)

    @classmethod
    def load(cls, folder: Path) -> "Index":
        """Map the index in ``folder``.

        :raises InputError: the index is missing or damaged.
        """
        path = folder / INDEX_NAME
        try:
            parts = [read_part(path)]
            for number in range(2, parts[0].settings.get("parts", 1) + 1):
                path = _part_path(folder, number)
                parts.append(read_part(path))
                if parts[-1].settings.get("part") != number:
                    raise ValueError(f"not part {number}")
        except FileNotFoundError as error:
            raise InputError(
                f"{path}: there is no provenance index; `codeling run` makes one"
            ) from error
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(path, str(error)) from error
        return cls(path, parts)

    @property
    def num_documents(self) -> int:
        """Documents in the index."""
        return self._first_documents[-1]

    def trace(
        self,
        text: str,
        *,
        lines: tuple[int, int] | None = None,
        min_lexemes: int = GUARANTEE,
        limit: int = 20,
    ) -> list[Match]:
        """Find where passages of ``text`` occur in the corpus, at most ``limit``, longest first.

        Every passage of at least ``min_lexemes`` lexemes is found at least once, and up to
        :data:`MAX_OCCURRENCES` times if it is common. Passages shorter than :data:`GUARANTEE` may
        be missed. Ties are ordered by rarity, then by corpus order.

        ``lines`` is the first and the last line to trace, from 1. All of ``text`` is looked up, so
        a single line of a longer passage is found, and the match gives the whole passage. Matches
        that agree on more lexemes of these lines come first.

        :raises UsageError: ``lines`` is not a range of lines of ``text``.
        :raises InputError: the index is damaged.
        """
        lexed = lex([text])
        traced = _traced_lexemes(lexed, lines)
        try:
            passages = join(self._runs(lexed))
            kept = best([passage for passage in passages if passage.num_lexemes >= min_lexemes])
            shared = [(passage, passage.num_lexemes_within(traced)) for passage in kept]
            shared = [(passage, number) for passage, number in shared if number]
            shared.sort(key=lambda pair: -pair[1])
            num_traced = traced[1] - traced[0]
            return [
                self._match(passage, lexed, number / num_traced)
                for passage, number in shared[:limit]
            ]
        except (IndexError, ValueError, KeyError) as error:
            raise _damaged(self._path, "its tables contradict each other") from error

    def _runs(self, lexed: LexedTexts) -> list[Run]:
        """Verified runs of at least K lexemes, each extended to both ends."""
        diagonals: dict[int, list[tuple[int, int]]] = {}
        for first, occurrences, num_occurrences in self._candidates(lexed):
            for occurrence in occurrences:
                diagonals.setdefault(occurrence - first, []).append((first, num_occurrences))
        runs: list[Run] = []
        for shift, candidates in diagonals.items():
            last: Run | None = None
            for first, num_occurrences in candidates:
                if last and first + K <= last.text + last.length:
                    if num_occurrences < last.occurrences:
                        last = runs[-1] = replace(last, occurrences=num_occurrences)
                    continue
                run = self._extend(lexed.lexemes, first, shift, num_occurrences)
                if run:
                    last = run
                    runs.append(run)
        return runs

    def _candidates(self, lexed: LexedTexts) -> Iterator[tuple[int, list[int], int]]:
        """For each fingerprint of the text: its first lexeme, the first occurrences in the corpus,
        at most :data:`MAX_OCCURRENCES`, and the number of all occurrences.
        """
        low = np.uint64(0xFFFFFFFF)
        keys = lexed.hashes << np.uint64(32)
        bounds = []
        for part in self._parts:
            begins = np.searchsorted(part.fingerprints, keys)
            ends = np.searchsorted(part.fingerprints, keys | low, side="right")
            bounds.append(list(zip(begins.tolist(), ends.tolist(), strict=True)))
        for number, first in enumerate(lexed.firsts.tolist()):
            found: list[int] = []
            total = 0
            for part, start, spans in zip(
                self._parts, self._first_lexemes[:-1], bounds, strict=True
            ):
                begin, end = spans[number]
                total += end - begin
                taken = part.fingerprints[begin : min(end, begin + MAX_OCCURRENCES - len(found))]
                found += (start + position for position in (taken & low).tolist())
            yield first, found, total

    def _extend(self, lexemes: U8, first: int, shift: int, occurrences: int) -> Run | None:
        """Extend the equal lexemes from ``first`` both ways, within one document.

        ``shift`` is the position in the corpus minus the position in the text.
        """
        number = _part_of(self._first_lexemes, first + shift)
        part, start = self._parts[number], self._first_lexemes[number]
        document = _part_of(part.lexeme_offsets, first + shift - start)
        begin = max(0, start + int(part.lexeme_offsets[document]) - shift)
        end = min(len(lexemes), start + int(part.lexeme_offsets[document + 1]) - shift)
        ours = part.lexemes[begin + shift - start : end + shift - start]
        differences = np.flatnonzero(lexemes[begin:end] != ours)
        after = int(np.searchsorted(differences, first - begin))
        low = begin + int(differences[after - 1]) + 1 if after else begin
        high = begin + int(differences[after]) if after < len(differences) else end
        if high - first < K:
            return None  # another K-gram with the same 32 bits
        document += self._first_documents[number]
        return Run(document, low, low + shift, high - low, occurrences)

    def _match(self, passage: Passage, lexed: LexedTexts, share: float) -> Match:
        number = _part_of(self._first_documents, passage.document)
        part, start = self._parts[number], self._first_lexemes[number]
        document = passage.document - self._first_documents[number]
        row = part.row(document)
        begin, end = passage.corpus
        lines = _lines(part.lines(document), (begin - start, end - start))
        first, last = (row["start_line"] - 1 + line for line in lines)
        text_first, text_last = _lines(lexed.line_starts, passage.text)
        return Match(
            text_start_line=text_first,
            text_end_line=text_last,
            repository=row["repository"],
            path=row["path"],
            start_line=first,
            end_line=last,
            license=row["license"],
            url=line_url(row["url"], first, last),
            num_lexemes=passage.num_lexemes,
            share=share,
            max_occurrences=passage.max_occurrences,
        )


def _traced_lexemes(lexed: LexedTexts, lines: tuple[int, int] | None) -> tuple[int, int]:
    """First lexeme on ``lines`` of a text, and the one after the last; None: all lines.

    :raises UsageError: they are not lines of the text.
    """
    if lines is None:
        return 0, len(lexed.lexemes)
    first, last = lines
    num_lines = len(lexed.line_starts)
    if not 1 <= first <= last:
        raise UsageError(f"lines {first} to {last} are not a range; lines count from 1")
    if first > num_lines:
        raise UsageError(
            f"line {first} is not in the text, which has {quantity(num_lines, 'line')}"
        )
    end = int(lexed.line_starts[last]) if last < num_lines else len(lexed.lexemes)
    return int(lexed.line_starts[first - 1]), end


def _starts(sizes: Iterable[int]) -> list[int]:
    """Starts of several consecutive spans, and the end of the last one."""
    return [0, *accumulate(sizes)]


def _part_of(starts: Sequence[int] | U64, position: int) -> int:
    """The span that ``position`` falls into. :raises IndexError: it is outside all of them."""
    number = int(np.searchsorted(starts, position, side="right")) - 1
    if not 0 <= number < len(starts) - 1:
        raise IndexError(position)
    return number


def _lines(line_starts: NDArray[Any], lexemes: tuple[int, int]) -> tuple[int, int]:
    """First and last line, from 1, of the lexemes ``lexemes[0]`` to ``lexemes[1] - 1``."""
    wanted = [lexemes[0], lexemes[1] - 1]
    first, last = np.searchsorted(line_starts, wanted, side="right").tolist()
    return first, last


def line_url(url: str, first: int, last: int) -> str:
    """Put lines into ``url``.

    They replace the lines that it names, or are appended to a file's page on a code host. Other
    URLs stay unchanged.
    """
    lines = re.search(r"#L\d+(-L?\d+)?$", url)
    if lines:
        return f"{url[: lines.start()]}#L{first}-L{last}"
    if re.fullmatch(r"https?://[^#]*/(blob|src)/[^#]*", url):
        return f"{url}#L{first}-L{last}"
    return url


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(f"{path}: not a provenance index ({reason}); remove it and run again")
