"""A split as ids on disk: ``NAME.bin`` holds them one after another, ``NAME.idx`` says where each
document begins.

Both are mapped into memory, never read whole, so training takes no more memory on a larger
corpus. ``docs/formats.md`` describes the bytes. This module must not know how ids are packed
or who reads them.
"""

import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codeling.dataset.encoding_journal import EncodingJournal
from codeling.errors import InputError
from codeling.manifest import replacing
from codeling.progress import SILENT, Progress
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
"""A smaller split is encoded sooner than a fast encoder is proved right."""
_CHECKED_BYTES = 32_000
"""Text of every batch that is encoded by tokenizers too."""


@dataclass(frozen=True)
class TokenFile:
    """Ids and document index of one split, mapped read-only."""

    ids: NDArray[np.unsignedinteger]
    """All ids, documents one after another, nothing between them; uint16 or uint32."""
    offsets: NDArray[np.uint64]
    """Document ``d`` is ``ids[offsets[d]:offsets[d + 1]]``; one entry more than documents."""
    num_bytes: NDArray[np.uint64]
    """UTF-8 bytes of each document's text."""

    @property
    def num_documents(self) -> int:
        """Documents in the split."""
        return len(self.num_bytes)

    @property
    def num_tokens(self) -> int:
        """Ids in the split, without any special token."""
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
    """Encode ``texts`` into ``path`` (``….bin``) and the ``.idx`` beside it; read them back.

    Reads ``texts`` once, in batches of about 16 MB; only the index is held in memory.
    ``total_bytes`` is how much there is, where it is known. Each file appears whole or not at
    all, the index last. A call that is stopped or killed leaves the batches it had finished in
    ``….unfinished`` files; the next one for the same texts and tokenizer goes on from there.

    :raises StorageError: they cannot be written.
    """
    id_type = np.dtype("<u2" if tokenizer.vocab_size <= 1 << 16 else "<u4")
    so_far = hashlib.sha256(tokenizer.to_json().encode())
    encoder = _CheckedEncoder(tokenizer, progress)
    with (
        EncodingJournal.open(path, id_type) as journal,
        progress.task(f"encoding {path.stem}", total_bytes, "bytes") as advance,
    ):
        for batch in _batches(texts):
            sizes = []
            for text in batch:
                data = text.encode()
                so_far.update(len(data).to_bytes(8, "little") + data)
                sizes.append(len(data))
            if not journal.skip_encoded(so_far.hexdigest()):
                encoded = encoder.encode(batch, sum(sizes))
                lengths = np.diff(encoded.offsets).tolist()
                journal.append(so_far.hexdigest(), encoded.ids, lengths, sizes)
            advance(sum(sizes))
        lengths, num_bytes = journal.finish()
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype="<u8")]).astype("<u8")
    header = _HEADER.pack(_MAGIC, _VERSION, id_type.itemsize, len(num_bytes), int(offsets[-1]))
    with replacing(path.with_suffix(".idx")) as partial:
        partial.write_bytes(header + offsets.tobytes() + np.asarray(num_bytes, "<u8").tobytes())
    return open_tokens(path)


class _CheckedEncoder:
    """The fast encoder for as long as it is right, then tokenizers."""

    def __init__(self, tokenizer: Tokenizer, progress: Progress) -> None:
        self._tokenizer = tokenizer
        self._progress = progress
        self._encoder: Encoder | None = None
        self._proved = True

    def encode(self, texts: Sequence[str], num_bytes: int) -> Encoded:
        """Ids of ``texts``, which have ``num_bytes``."""
        if self._encoder is None:
            self._encoder, refused = reference_encoder(self._tokenizer), None
            if num_bytes >= _FAST_FROM_BYTES:
                self._encoder, refused = choose_encoder(self._tokenizer, texts)
                self._proved = refused is not None
            if refused:
                self._progress.note(f"encoding with tokenizers: {refused}")
        encoded = self._encoder.encode(texts)
        if self._proved:
            return encoded
        wrong = find_difference(
            encoded, texts, spread_sample(texts, _CHECKED_BYTES), self._tokenizer
        )
        if wrong is None:
            return encoded
        self._progress.note(f"encoding with tokenizers from here on: {self._encoder.name} {wrong}")
        self._encoder, self._proved = reference_encoder(self._tokenizer), True
        return self._encoder.encode(texts)


def open_tokens(path: Path) -> TokenFile:
    """Map ``path`` (``….bin``) and the ``.idx`` beside it.

    :raises InputError: one is missing, damaged, or they do not belong together.
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
        raise InputError(f"{index_path}: cut short, {num_documents:,} documents announced")
    if data_bytes != num_ids * id_bytes:
        raise InputError(f"{path}: {data_bytes:,} bytes, its index says {num_ids * id_bytes:,}")
    numbers = np.frombuffer(index, "<u8", offset=_HEADER.size)
    offsets = numbers[: num_documents + 1]
    if offsets[0] != 0 or offsets[-1] != num_ids or (offsets[1:] < offsets[:-1]).any():
        raise InputError(f"{index_path}: damaged, its documents do not follow one another")
    ids = (
        np.memmap(path, f"<u{id_bytes}", mode="r")
        if num_ids
        else np.empty(0, np.dtype(f"<u{id_bytes}"))
    )
    return TokenFile(ids=ids, offsets=offsets, num_bytes=numbers[num_documents + 1 :])


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """Consecutive texts, about :data:`_BATCH_BYTES` of them at a time."""
    source = iter(texts)
    while first := list(islice(source, 1)):
        batch, size = first, len(first[0])
        while size < _BATCH_BYTES and (following := list(islice(source, 1))):
            batch += following
            size += len(following[0])
        yield batch
