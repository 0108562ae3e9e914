"""An index of the training corpus: given a text, the repository, path, line and licence of
every passage of at least ``GUARANTEE`` marks that stands in the corpus too.

Which K-grams of marks are looked up is decided in :mod:`codeling.provenance.winnowing`. Beside
them stands one byte a mark for the whole corpus: a candidate is verified and followed to its
true ends, mark by mark, so the length of a match is its length (each end may reach one mark too
far with probability 1/256).

The index is one file, ``index.safetensors``, in the safetensors layout, memory-mapped, about
half a byte for a byte of Python:

=================  ====  ==================================================================
``marks``          U8    top byte of each mark's hash, documents one after the other; padded
``fingerprints``   U64   sorted; high 32 bits K-gram hash, low 32 bits its first mark
``line_starts``    U32   of each line, the number of marks before it
``mark_offsets``   U64   [documents + 1]; first mark of each document
``line_offsets``   U64   [documents + 1]; first line of each document
``row_offsets``    U64   [documents + 1]; where each document's row begins in ``rows``
``rows``           U8    JSON lines: repository, path, license, url, start_line; padded
=================  ====  ==================================================================

60 MB of installed packages took 1.5 s on one core, and 80 MB of memory. This module must not
import torch, daft or pyarrow.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from codeling.errors import CorpusError, InputError
from codeling.manifest import replacing
from codeling.progress import SILENT, Progress
from codeling.provenance.passages import Passage, Run, best, join
from codeling.provenance.winnowing import GUARANTEE, WINDOW, Cut, K, cut_texts

INDEX_NAME = "index.safetensors"
MAX_OCCURRENCES = 256
"""Of a fingerprint that stands in more places than this, the first so many in corpus order are
looked at: what is that common is found, but not in every place it stands in."""

_FORMAT = 1
_HEADER_BYTES = 2048
_BLOCK_BYTES = 1 << 20
_DTYPES = {"U8": np.uint8, "U32": np.uint32, "U64": np.uint64}
_LAYOUT = {
    "marks": "U8",
    "fingerprints": "U64",
    "line_starts": "U32",
    "mark_offsets": "U64",
    "line_offsets": "U64",
    "row_offsets": "U64",
    "rows": "U8",
}

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]


class Source(Protocol):
    """What the index needs of a document (:class:`codeling.corpus.document.Document` has it)."""

    @property
    def repository(self) -> str: ...  # noqa: D102
    @property
    def path(self) -> str: ...  # noqa: D102
    @property
    def text(self) -> str: ...  # noqa: D102
    @property
    def license(self) -> str: ...  # noqa: D102
    @property
    def url(self) -> str: ...  # noqa: D102
    @property
    def start_line(self) -> int: ...  # noqa: D102


@dataclass(frozen=True)
class Match:
    """A passage of the text that stands in one training document too. Lines count from 1."""

    text_start_line: int
    text_end_line: int
    repository: str
    path: str
    start_line: int
    end_line: int
    license: str
    """As the corpus has it; empty where it names none."""
    url: str
    """With the lines in it, where its form can name lines; empty where there is none."""
    num_lexemes: int
    """Marks that agree, in order."""
    share: float
    """``num_lexemes`` of all marks of the text, 0 to 1."""
    max_occurrences: int
    """At most so many places of the corpus hold the rarest part of it; 1 = nowhere else."""


def build(
    documents: Iterable[Source],
    folder: Path,
    progress: Progress = SILENT,
    *,
    total: int | None = None,
) -> None:
    """Write ``folder/index.safetensors`` over ``documents``, in their order.

    ``total`` is how many there are, where it is known. The same documents give the same bytes.
    Fingerprints (8 bytes each, one in eleven marks)
    are held in memory until they are sorted; everything else goes to the disk as it comes.

    :raises CorpusError: more than 2³² marks (about 12 GB of Python).
    :raises StorageError: the folder cannot be written.
    """
    path = folder / INDEX_NAME
    with (
        replacing(path) as partial,
        partial.open("wb") as file,
        progress.task("provenance", total, "documents") as advance,
    ):
        file.write(b" " * _HEADER_BYTES)
        fingerprints: list[U64] = []
        line_starts: list[U32] = []
        mark_offsets, line_offsets, row_offsets = [0], [0], [0]
        rows = bytearray()
        for block in _blocks(documents):
            cut = cut_texts([document.text for document in block])
            base, lines = mark_offsets[-1], line_offsets[-1]
            if base + len(cut.marks) >= 1 << 32:
                raise CorpusError("provenance: the corpus has more than 2**32 marks of code")
            file.write(cut.marks.tobytes())
            fingerprints.append(cut.hashes << np.uint64(32) | cut.firsts + np.uint64(base))
            line_starts.append((cut.line_starts + np.uint64(base)).astype(np.uint32))
            mark_offsets.extend((cut.mark_offsets[1:] + np.uint64(base)).tolist())
            line_offsets.extend((cut.line_offsets[1:] + np.uint64(lines)).tolist())
            for document in block:
                rows += _row(document)
                row_offsets.append(len(rows))
            advance(len(block))
        file.write(bytes(-mark_offsets[-1] % 8))
        every = np.concatenate([*fingerprints, np.empty(0, np.uint64)])
        fingerprints.clear()
        every.sort()
        starts = np.concatenate([*line_starts, np.empty(0, np.uint32)])
        starts.resize(len(starts) + len(starts) % 2)
        rows += b" " * (-len(rows) % 8)
        sections: dict[str, NDArray[Any]] = {
            "fingerprints": every,
            "line_starts": starts,
            "mark_offsets": np.array(mark_offsets, np.uint64),
            "line_offsets": np.array(line_offsets, np.uint64),
            "row_offsets": np.array(row_offsets, np.uint64),
            "rows": np.frombuffer(rows, np.uint8),
        }
        _finish(file, mark_offsets[-1] + -mark_offsets[-1] % 8, sections)


def _finish(file: BinaryIO, num_lexemes: int, sections: dict[str, NDArray[Any]]) -> None:
    """Write what comes after the marks, then the header that was left blank."""
    settings = json.dumps({"format": _FORMAT, "k": K, "window": WINDOW})
    header: dict[str, Any] = {"__metadata__": {"codeling.provenance": settings}}
    end = 0
    for name, dtype in _LAYOUT.items():
        size = num_lexemes if name == "marks" else len(sections[name])
        begin, end = end, end + size * np.dtype(_DTYPES[dtype]).itemsize
        header[name] = {"dtype": dtype, "shape": [size], "data_offsets": [begin, end]}
        if name != "marks":
            file.write(sections[name].astype(f"<u{sections[name].itemsize}").tobytes())
    text = json.dumps(header, separators=(",", ":")).encode()
    file.seek(0)
    file.write((_HEADER_BYTES - 8).to_bytes(8, "little") + text)


def _row(document: Source) -> bytes:
    row = {
        "repository": document.repository,
        "path": document.path,
        "license": document.license,
        "url": document.url,
        "start_line": document.start_line,
    }
    return json.dumps(row).encode() + b"\n"


def _blocks(documents: Iterable[Source]) -> Iterator[list[Source]]:
    """Neighbouring documents together, about a megabyte at a time."""
    block: list[Source] = []
    size = 0
    for document in documents:
        block.append(document)
        size += len(document.text)
        if size >= _BLOCK_BYTES:
            yield block
            block, size = [], 0
    if block:
        yield block


class Index:
    """A written index, memory-mapped. Make one with :meth:`load`."""

    def __init__(self, path: Path, sections: dict[str, NDArray[Any]]) -> None:
        self._path = path
        self._marks: U8 = sections["marks"]
        self._fingerprints: U64 = sections["fingerprints"]
        self._line_starts: U32 = sections["line_starts"]
        self._mark_offsets: U64 = sections["mark_offsets"]
        self._line_offsets: U64 = sections["line_offsets"]
        self._row_offsets: U64 = sections["row_offsets"]
        self._rows: U8 = sections["rows"]

    @classmethod
    def load(cls, folder: Path) -> "Index":
        """Map ``folder/index.safetensors``.

        :raises InputError: it is missing, cut short, or not an index.
        """
        path = folder / INDEX_NAME
        try:
            return cls(path, _read_sections(path))
        except FileNotFoundError as error:
            raise InputError(f"{path}: no provenance index there; `codeling run` makes one") from (
                error
            )
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from error
        except (ValueError, KeyError, TypeError) as error:
            raise _broken(path, str(error)) from error

    @property
    def num_documents(self) -> int:
        """Documents of the corpus that the index was made of."""
        return len(self._mark_offsets) - 1

    def trace(self, text: str, *, min_lexemes: int = GUARANTEE, limit: int = 20) -> list[Match]:
        """Where passages of ``text`` stand in the corpus, longest first, at most ``limit``.

        Every passage of at least ``min_lexemes`` marks (never fewer than :data:`GUARANTEE` are
        promised) is found in at least one place, up to :data:`MAX_OCCURRENCES` where it is common.
        At equal length the rarer comes first, then corpus order.

        :raises InputError: the index contradicts itself.
        """
        cut = cut_texts([text])
        try:
            passages = join(self._runs(cut))
            kept = best([passage for passage in passages if passage.num_lexemes >= min_lexemes])
            return [self._match(passage, cut) for passage in kept[:limit]]
        except (IndexError, ValueError, KeyError) as error:
            raise _broken(self._path, "it contradicts itself") from error

    def _runs(self, cut: Cut) -> list[Run]:
        """Verified runs of at least K marks, each followed to both its ends."""
        low = np.uint64(0xFFFFFFFF)
        keys = cut.hashes << np.uint64(32)
        begins = np.searchsorted(self._fingerprints, keys)
        ends = np.searchsorted(self._fingerprints, keys | low, side="right")
        diagonals: dict[int, list[tuple[int, int]]] = {}
        for first, begin, end in zip(
            cut.firsts.tolist(), begins.tolist(), ends.tolist(), strict=True
        ):
            places = self._fingerprints[begin : min(end, begin + MAX_OCCURRENCES)] & low
            for place in places.tolist():
                diagonals.setdefault(place - first, []).append((first, end - begin))
        runs: list[Run] = []
        for shift, candidates in diagonals.items():
            done: Run | None = None
            for first, places in candidates:
                if done and first + K <= done.text + done.length:
                    if places < done.places:
                        done = runs[-1] = replace(done, places=places)
                    continue
                run = self._extend(cut.marks, first, shift, places)
                if run:
                    done = run
                    runs.append(run)
        return runs

    def _extend(self, marks: U8, first: int, shift: int, places: int) -> Run | None:
        """Follow the equal marks from ``first`` both ways, within one document."""
        document = self._document(first + shift)
        begin = max(0, int(self._mark_offsets[document]) - shift)
        end = min(len(marks), int(self._mark_offsets[document + 1]) - shift)
        differs = np.flatnonzero(marks[begin:end] != self._marks[begin + shift : end + shift])
        after = int(np.searchsorted(differs, first - begin))
        low = begin + int(differs[after - 1]) + 1 if after else begin
        high = begin + int(differs[after]) if after < len(differs) else end
        if high - first < K:
            return None  # another K-gram with the same 32 bits
        return Run(document, low, low + shift, high - low, places)

    def _document(self, mark: int) -> int:
        document = int(np.searchsorted(self._mark_offsets, mark, side="right")) - 1
        if not 0 <= document < self.num_documents:
            raise IndexError(mark)
        return document

    def _match(self, passage: Passage, cut: Cut) -> Match:
        row_begin, row_end = self._row_offsets[passage.document : passage.document + 2].tolist()
        row = json.loads(self._rows[row_begin:row_end].tobytes())
        begin, end = self._line_offsets[passage.document : passage.document + 2].tolist()
        lines = self._line_starts[begin:end]
        first, last = (row["start_line"] - 1 + line for line in _lines(lines, passage.corpus))
        text_first, text_last = _lines(cut.line_starts, passage.text)
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
            share=passage.num_lexemes / len(cut.marks),
            max_occurrences=passage.max_occurrences,
        )


def _lines(line_starts: NDArray[Any], marks: tuple[int, int]) -> tuple[int, int]:
    """Lines, from 1, of the first and of the last of the marks from ``marks[0]`` to before
    ``marks[1]``."""
    first, last = np.searchsorted(line_starts, [marks[0], marks[1] - 1], side="right").tolist()
    return first, last


def line_url(url: str, first: int, last: int) -> str:
    """``url`` with the lines in it: in place of the ones it names, or added to a file's page of
    a code host; unchanged where its form cannot name lines."""
    lines = re.search(r"#L\d+(-L?\d+)?$", url)
    if lines:
        return f"{url[: lines.start()]}#L{first}-L{last}"
    if re.fullmatch(r"https?://[^#]*/(blob|src)/[^#]*", url):
        return f"{url}#L{first}-L{last}"
    return url


def _broken(path: Path, reason: str) -> InputError:
    return InputError(f"{path}: not a provenance index ({reason}); remove it and run again")


def _read_sections(path: Path) -> dict[str, NDArray[Any]]:
    """Map the file and check that its header and its sizes agree."""
    size = path.stat().st_size
    if size < _HEADER_BYTES:
        raise ValueError("cut short")
    data: U8 = np.memmap(path, np.uint8, mode="r")
    length = int.from_bytes(data[:8].tobytes(), "little")
    if length != _HEADER_BYTES - 8:
        raise ValueError("no such header")
    header = json.loads(data[8:_HEADER_BYTES].tobytes())
    settings = json.loads(header.pop("__metadata__")["codeling.provenance"])
    if settings != {"format": _FORMAT, "k": K, "window": WINDOW}:
        raise ValueError(f"made with other settings: {settings}")
    sections: dict[str, NDArray[Any]] = {}
    for name, dtype in _LAYOUT.items():
        begin, end = header[name]["data_offsets"]
        if header[name]["dtype"] != dtype or not 0 <= begin <= end <= size - _HEADER_BYTES:
            raise ValueError("cut short")
        part = data[_HEADER_BYTES + begin : _HEADER_BYTES + end]
        sections[name] = part.view(np.dtype(_DTYPES[dtype]).newbyteorder("<"))
    counts = [(name, len(sections[name])) for name in _LAYOUT if name.endswith("_offsets")]
    if len({count for _, count in counts}) != 1 or counts[0][1] < 1:
        raise ValueError("its tables differ in length")
    ends = {"mark_offsets": "marks", "line_offsets": "line_starts", "row_offsets": "rows"}
    if any(int(sections[name][-1]) > len(sections[of]) for name, of in ends.items()):
        raise ValueError("cut short")
    return sections
