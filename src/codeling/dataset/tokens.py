"""A split as token ids on disk: ``NAME.bin`` holds the ids, ``NAME.idx`` the document offsets.

Both are memory-mapped, so training takes no more memory on a larger corpus. ``docs/formats.md``
describes the bytes. This module must not know how ids are packed or who reads them.
"""

import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codeling.dataset.encoding_journal import EncodingJournal
from codeling.errors import InputError
from codeling.manifest import replacing
from codeling.progress import SILENT, Progress
from codeling.quantity import quantity
from codeling.tokenizer.encoders import (
    Encoded,
    Encoder,
    choose_encoder,
    find_difference,
    reference_encoder,
    spread_sample,
)
from codeling.tokenizer.tokenizer import Tokenizer

_MAGIC = b"CODELING"
_VERSION = 1
_HEADER = struct.Struct("<8sIIQQ")  # magic, version, bytes per id, documents, ids
_BATCH_BYTES = 16_000_000
_FAST_FROM_BYTES = 2_000_000
"""Below this size, verifying the fast encoder takes longer than encoding without it."""
_CHECKED_BYTES = 32_000
"""Text of each batch that is also encoded with the tokenizers library, to compare."""


@dataclass(frozen=True)
class TokenFile:
    """Ids and document index of one split, memory-mapped read-only."""

    ids: NDArray[np.unsignedinteger]
    """(N,): ids of all documents, without separators; uint16 or uint32."""
    offsets: NDArray[np.uint64]
    """(D + 1,): document ``d`` is ``ids[offsets[d]:offsets[d + 1]]``."""
    num_bytes: NDArray[np.uint64]
    """(D,): UTF-8 bytes of each document's text."""
    path: Path | None = None
    """The ``.bin`` file that ``ids`` is mapped from."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as a path for another process, which maps the file itself."""
        if self.path is not None:
            return open_tokens, (self.path,)
        return TokenFile, (self.ids, self.offsets, self.num_bytes)

    @property
    def num_documents(self) -> int:
        """Number of documents."""
        return len(self.num_bytes)

    @property
    def num_tokens(self) -> int:
        """Number of ids; none of them is a special token."""
        return len(self.ids)

    def document(self, number: int) -> NDArray[np.unsignedinteger]:
        """Ids of one document."""
        return self.ids[int(self.offsets[number]) : int(self.offsets[number + 1])]


def write_tokens(
    texts: Iterable[str],
    tokenizer: Tokenizer,
    path: Path,
    progress: Progress = SILENT,
    *,
    total_bytes: int | None = None,
) -> TokenFile:
    """Encode ``texts`` into ``path`` (``….bin``) and its ``.idx``, and open them.

    Reads ``texts`` once, in batches of about 16 MB; only the index is held in memory.
    ``total_bytes`` is the size of all texts, if known. Each file appears whole or not at all, the
    index last. A call that is stopped or killed leaves its finished batches in ``….unfinished``
    files, and the next call with the same texts and tokenizer resumes after them.

    :raises StorageError: the files cannot be written.
    """
    id_type = np.dtype("<u2" if tokenizer.vocab_size <= 1 << 16 else "<u4")
    digest = hashlib.sha256(tokenizer.to_json().encode())
    encoder = _CheckedEncoder(tokenizer, progress)
    with (
        EncodingJournal.open(path, id_type) as journal,
        progress.task(f"encoding {path.stem}", total_bytes, "bytes") as advance,
    ):
        for batch in _batches(texts):
            sizes = []
            for text in batch:
                data = text.encode()
                digest.update(len(data).to_bytes(8, "little") + data)
                sizes.append(len(data))
            if not journal.skip_encoded(digest.hexdigest()):
                encoded = encoder.encode_all(batch)
                lengths = np.diff(encoded.offsets).tolist()
                journal.append(digest.hexdigest(), encoded.ids, lengths, sizes)
            advance(sum(sizes))
        lengths, num_bytes = journal.finish()
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype="<u8")]).astype("<u8")
    header = _HEADER.pack(_MAGIC, _VERSION, id_type.itemsize, len(num_bytes), int(offsets[-1]))
    with replacing(path.with_suffix(".idx")) as partial:
        partial.write_bytes(header + offsets.tobytes() + np.asarray(num_bytes, "<u8").tobytes())
    return open_tokens(path)


class _CheckedEncoder:
    """Uses the fast encoder until its ids differ from those of the tokenizers library."""

    def __init__(self, tokenizer: Tokenizer, progress: Progress) -> None:
        self._tokenizer = tokenizer
        self._progress = progress
        self._encoder: Encoder | None = None
        self._is_trusted = True

    def encode_all(self, texts: Sequence[str]) -> Encoded:
        """Encode ``texts``, each distinct one once: an adaptation repeats the project's files."""
        unique = list(dict.fromkeys(texts))
        encoded = self._encode(unique)
        if len(unique) == len(texts):
            return encoded
        numbers = {text: number for number, text in enumerate(unique)}
        parts = [encoded.text_ids(numbers[text]) for text in texts]
        return Encoded(np.concatenate(parts), np.cumsum([0, *map(len, parts)], dtype=np.int64))

    def _encode(self, texts: Sequence[str]) -> Encoded:
        if self._encoder is None:
            self._encoder, refused = reference_encoder(self._tokenizer), None
            if sum(len(text.encode()) for text in texts) >= _FAST_FROM_BYTES:
                self._encoder, refused = choose_encoder(self._tokenizer, texts)
                self._is_trusted = refused is not None
            if refused:
                self._progress.note(f"encoding with tokenizers: {refused}")
        encoded = self._encoder.encode(texts)
        if self._is_trusted:
            return encoded
        wrong = find_difference(
            encoded, texts, spread_sample(texts, _CHECKED_BYTES), self._tokenizer
        )
        if wrong is None:
            return encoded
        self._progress.note(f"encoding with tokenizers from here on: {self._encoder.name} {wrong}")
        self._encoder, self._is_trusted = reference_encoder(self._tokenizer), True
        return self._encoder.encode(texts)


def open_tokens(path: Path) -> TokenFile:
    """Map ``path`` (``….bin``) and its ``.idx``.

    :raises InputError: one of them is missing or damaged, or they do not match.
    """
    index_path = path.with_suffix(".idx")
    try:
        index = index_path.read_bytes()
        data_bytes = path.stat().st_size
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror})") from error
    if len(index) < _HEADER.size:
        raise InputError(f"{index_path}: cut short")
    magic, version, id_bytes, num_documents, num_ids = _HEADER.unpack_from(index)
    if magic != _MAGIC or version != _VERSION or id_bytes not in (2, 4):
        raise InputError(f"{index_path}: not a token index of version {_VERSION}")
    if len(index) != _HEADER.size + 8 * (2 * num_documents + 1):
        raise InputError(
            f"{index_path}: cut short, it should have {quantity(num_documents, 'document')}"
        )
    if data_bytes != num_ids * id_bytes:
        raise InputError(
            f"{path}: {quantity(data_bytes, 'byte')}, its index says {num_ids * id_bytes:,}"
        )
    numbers = np.frombuffer(index, "<u8", offset=_HEADER.size)
    offsets = numbers[: num_documents + 1]
    if offsets[0] != 0 or offsets[-1] != num_ids or (offsets[1:] < offsets[:-1]).any():
        raise InputError(f"{index_path}: damaged, its document offsets are not ascending")
    ids = (
        np.asarray(np.memmap(path, f"<u{id_bytes}", mode="r"))  # slices of a memmap are slow
        if num_ids
        else np.empty(0, np.dtype(f"<u{id_bytes}"))
    )
    return TokenFile(ids=ids, offsets=offsets, num_bytes=numbers[num_documents + 1 :], path=path)


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """Consecutive texts, about :data:`_BATCH_BYTES` at a time."""
    source = iter(texts)
    while first := list(islice(source, 1)):
        batch, size = first, len(first[0])
        while size < _BATCH_BYTES and (following := list(islice(source, 1))):
            batch += following
            size += len(following[0])
        yield batch
