"""A split as ids on disk: ``NAME.bin`` holds them one after another, ``NAME.idx`` says where each
document begins.

Both are mapped into memory, never read whole, so training takes no more memory on a larger
corpus. ``docs/formats.md`` describes the bytes. This module must not know how ids are packed
or who reads them.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codeling.errors import InputError
from codeling.manifest import replacing
from codeling.progress import SILENT, Progress
from codeling.tokenizer.tokenizer import Tokenizer

_MAGIC = b"CODELING"
_VERSION = 1
_HEADER = struct.Struct("<8sIIQQ")  # magic, version, bytes per id, documents, ids
_BATCH_BYTES = 4_000_000


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

    Reads ``texts`` once, in batches of about 4 MB; only the index is held in memory.
    ``total_bytes`` is how much there is, where it is known. Each file
    appears whole or not at all, the index last.

    :raises StorageError: they cannot be written.
    """
    id_type = np.dtype("<u2" if tokenizer.vocab_size <= 1 << 16 else "<u4")
    lengths: list[int] = []
    sizes: list[int] = []
    with (
        replacing(path) as partial,
        partial.open("wb") as file,
        progress.task(f"encoding {path.stem}", total_bytes, "bytes") as advance,
    ):
        for batch in _batches(texts):
            encoded = tokenizer.encode_batch(batch)
            file.writelines(np.asarray(ids, dtype=id_type).tobytes() for ids in encoded)
            lengths.extend(map(len, encoded))
            batch_sizes = [len(text.encode()) for text in batch]
            sizes.extend(batch_sizes)
            advance(sum(batch_sizes))
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype="<u8")]).astype("<u8")
    header = _HEADER.pack(_MAGIC, _VERSION, id_type.itemsize, len(sizes), int(offsets[-1]))
    with replacing(path.with_suffix(".idx")) as partial:
        partial.write_bytes(header + offsets.tobytes() + np.asarray(sizes, "<u8").tobytes())
    return open_tokens(path)


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
