"""One part of the provenance index on disk: a safetensors file that is written as a stream.

=================  ====  ====================================================================
``marks``          U8    top byte of each lexeme's hash, documents in order; padded
``fingerprints``   U64   sorted; high 32 bits: K-gram hash, low 32 bits: its first lexeme
``line_starts``    U32   for each line, the number of lexemes before it; padded
``mark_offsets``   U64   [documents + 1]; first lexeme of each document
``line_offsets``   U64   [documents + 1]; first line of each document
``row_offsets``    U64   [documents + 1]; start of each document's row in ``rows``
``rows``           U8    JSON lines: repository, path, license, url, start_line; padded
=================  ====  ====================================================================

Positions count from the beginning of the part and have 32 bits, so a part holds at most 2³²
lexemes. The header is read by the safetensors library. It can neither write a tensor in pieces
nor map one into memory with numpy, so both are done here. This module must not know how texts are
lexed or looked up.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from codeling.errors import CorpusError
from codeling.provenance.winnowing import WINDOW, K, LexedTexts

MAX_LEXEMES = 1 << 32
"""Lexemes of one part: what 32 bits can count. At least 12 GB of Python."""

_FORMAT = 1
_HEADER_BYTES = 2048
_SETTINGS_KEY = "codeling.provenance"
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


class IndexedDocument(Protocol):
    """The fields that the index needs; :class:`codeling.corpus.document.Document` has them."""

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


class IndexPartWriter:
    """Writes one part. Lexemes go to disk at once, everything else when the part is closed."""

    def __init__(self, file: BinaryIO) -> None:
        """Start the part at the beginning of ``file``."""
        self._file = file
        self._fingerprints: list[U64] = []
        self._line_starts: list[U32] = []
        self._offsets: dict[str, list[int]] = {"mark": [0], "line": [0], "row": [0]}
        self._rows = bytearray()
        file.write(b" " * _HEADER_BYTES)

    @property
    def num_lexemes(self) -> int:
        """Lexemes written so far."""
        return self._offsets["mark"][-1]

    def has_space(self, num_lexemes: int) -> bool:
        """Whether ``num_lexemes`` more fit. An empty part takes any document, however large."""
        return not self.num_lexemes or self.num_lexemes + num_lexemes <= MAX_LEXEMES

    def add(self, documents: Sequence[IndexedDocument], lexed: LexedTexts) -> None:
        """Append ``documents``, whose texts are ``lexed``.

        :raises CorpusError: 32 bits cannot count their lexemes.
        """
        first_lexeme, first_line = np.uint64(self.num_lexemes), np.uint64(self._offsets["line"][-1])
        if self.num_lexemes + len(lexed.lexemes) > 1 << 32:
            raise CorpusError(f"provenance: {documents[0].path} has more than 2**32 lexemes")
        self._file.write(lexed.lexemes.tobytes())
        self._fingerprints.append(lexed.hashes << np.uint64(32) | lexed.firsts + first_lexeme)
        self._line_starts.append((lexed.line_starts + first_lexeme).astype(np.uint32))
        self._offsets["mark"].extend((lexed.lexeme_offsets[1:] + first_lexeme).tolist())
        self._offsets["line"].extend((lexed.line_offsets[1:] + first_line).tolist())
        for document in documents:
            self._rows += _row(document)
            self._offsets["row"].append(len(self._rows))

    def close(self, settings: Mapping[str, int]) -> None:
        """Sort the fingerprints, write the tables, then the header with ``settings``."""
        padding = -self.num_lexemes % 8
        self._file.write(bytes(padding))
        fingerprints = np.concatenate([*self._fingerprints, np.empty(0, np.uint64)])
        self._fingerprints.clear()
        fingerprints.sort()
        line_starts = np.concatenate([*self._line_starts, np.empty(0, np.uint32)])
        line_starts.resize(len(line_starts) + len(line_starts) % 2)
        self._rows += b" " * (-len(self._rows) % 8)
        tables: dict[str, NDArray[Any]] = {
            "fingerprints": fingerprints,
            "line_starts": line_starts,
            "rows": np.frombuffer(self._rows, np.uint8),
        }
        for name, offsets in self._offsets.items():
            tables[f"{name}_offsets"] = np.array(offsets, np.uint64)
        sizes = {"marks": self.num_lexemes + padding}
        for name in _LAYOUT:
            if name != "marks":
                sizes[name] = len(tables[name])
                self._file.write(tables[name].astype(f"<u{tables[name].itemsize}").tobytes())
        self._file.seek(0)
        self._file.write(_header(sizes, settings))


def _header(sizes: Mapping[str, int], settings: Mapping[str, int]) -> bytes:
    """The safetensors header without its padding."""
    text = json.dumps({"format": _FORMAT, "k": K, "window": WINDOW, **settings})
    header: dict[str, Any] = {"__metadata__": {_SETTINGS_KEY: text}}
    end = 0
    for name, dtype in _LAYOUT.items():
        begin, end = end, end + sizes[name] * np.dtype(_DTYPES[dtype]).itemsize
        header[name] = {"dtype": dtype, "shape": [sizes[name]], "data_offsets": [begin, end]}
    data = json.dumps(header, separators=(",", ":")).encode()
    return (_HEADER_BYTES - 8).to_bytes(8, "little") + data


def change_settings(path: Path, settings: Mapping[str, int]) -> None:
    """Replace the ``settings`` of a part that is closed."""
    with path.open("r+b") as file:
        header = json.loads(file.read(_HEADER_BYTES)[8:])
        del header["__metadata__"]
        sizes = {name: values["shape"][0] for name, values in header.items()}
        file.seek(8)
        file.write(b" " * (_HEADER_BYTES - 8))
        file.seek(0)
        file.write(_header(sizes, settings))


def _row(document: IndexedDocument) -> bytes:
    row = {
        "repository": document.repository,
        "path": document.path,
        "license": document.license,
        "url": document.url,
        "start_line": document.start_line,
    }
    return json.dumps(row).encode() + b"\n"


@dataclass(frozen=True)
class Part:
    """The tables of one part, mapped into memory."""

    lexemes: U8
    fingerprints: U64
    line_starts: U32
    lexeme_offsets: U64
    line_offsets: U64
    row_offsets: U64
    rows: U8
    settings: Mapping[str, int]
    """What :meth:`IndexPartWriter.close` was given."""

    @property
    def num_documents(self) -> int:
        """Documents of this part."""
        return len(self.lexeme_offsets) - 1

    @property
    def num_lexemes(self) -> int:
        """Lexemes of this part, without padding."""
        return int(self.lexeme_offsets[-1])

    def row(self, document: int) -> dict[str, Any]:
        """Repository, path, licence, URL and first line of a document."""
        begin, end = self.row_offsets[document : document + 2].tolist()
        values: dict[str, Any] = json.loads(self.rows[begin:end].tobytes())
        return values

    def lines(self, document: int) -> U32:
        """For each line of a document, the number of the part's lexemes before it."""
        begin, end = self.line_offsets[document : document + 2].tolist()
        return self.line_starts[begin:end]


def read_part(path: Path) -> Part:
    """Map one part into memory.

    :raises OSError: the file cannot be read.
    :raises ValueError: it is damaged, or not a part of an index.
    """
    with path.open("rb"):
        pass  # safetensors does not say why it cannot open a file
    try:
        with safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            shapes = {name: (each.get_dtype(), each.get_shape()) for name, each in slices.items()}
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(str(error).splitlines()[0]) from error
    if {name: dtype for name, (dtype, _) in shapes.items()} != _LAYOUT:
        raise ValueError(f"its tables are {', '.join(shapes) or 'missing'}")
    settings = json.loads(metadata.get(_SETTINGS_KEY, "{}"))
    known = {name: settings.pop(name, None) for name in ("format", "k", "window")}
    if known != {"format": _FORMAT, "k": K, "window": WINDOW}:
        raise ValueError(f"made with other settings: {known}")
    data: U8 = np.asarray(np.memmap(path, np.uint8, mode="r"))
    tables: dict[str, NDArray[Any]] = {}
    offset = 8 + int.from_bytes(data[:8].tobytes(), "little")
    for name, dtype in _LAYOUT.items():
        (size,) = shapes[name][1]
        kind = np.dtype(_DTYPES[dtype]).newbyteorder("<")
        tables[name] = data[offset : offset + size * kind.itemsize].view(kind)
        offset += size * kind.itemsize
    part = Part(
        lexemes=tables["marks"],
        fingerprints=tables["fingerprints"],
        line_starts=tables["line_starts"],
        lexeme_offsets=tables["mark_offsets"],
        line_offsets=tables["line_offsets"],
        row_offsets=tables["row_offsets"],
        rows=tables["rows"],
        settings=settings,
    )
    _check(part)
    return part


def _check(part: Part) -> None:
    """Check that the sizes of the tables agree. :raises ValueError: they do not."""
    pairs: tuple[tuple[U64, NDArray[Any]], ...] = (
        (part.lexeme_offsets, part.lexemes),
        (part.line_offsets, part.line_starts),
        (part.row_offsets, part.rows),
    )
    if len({len(offsets) for offsets, _ in pairs}) != 1 or not len(part.lexeme_offsets):
        raise ValueError("its tables differ in length")
    if any(int(offsets[-1]) > len(table) for offsets, table in pairs):
        raise ValueError("its offsets point outside its tables")
