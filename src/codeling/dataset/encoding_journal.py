"""A file of token ids that is written in batches and can be resumed after a kill.

``NAME.bin.unfinished`` holds the ids written so far. ``NAME.idx.unfinished`` is the journal, one
JSON line per batch: the SHA-256 of all input up to and including the batch, the number of ids and
of bytes of each text, and the CRC-32 of the batch's ids. A batch is valid if its line is complete,
its ids are in the file and their CRC matches. Everything after the first invalid batch is cut
off. This module must not know what the ids mean.
"""

import json
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from codeling import jsonl
from codeling.errors import storage_errors
from codeling.manifest import sync_file, sync_folder

_SUFFIX = ".unfinished"


class EncodingJournal:
    """The unfinished version of the file ``path``."""

    def __init__(self, path: Path, id_type: "np.dtype[Any]", data: BinaryIO, lines: Path) -> None:
        """Read the valid batches; callers use :meth:`open`."""
        self._path = path
        self._id_type = id_type
        self._data = data
        self._lines = lines
        self._resumable = list(_valid_batches(data, lines))
        self._lengths: list[int] = []
        self._sizes: list[int] = []
        self._end = 0
        """Bytes of ids that are resumed or written."""
        self._lines_end = 0
        """Bytes of the journal's lines for them."""
        self._writing = False

    @classmethod
    @contextmanager
    def open(cls, path: Path, id_type: "np.dtype[Any]") -> Iterator["EncodingJournal"]:
        """Resume the unfinished version of ``path``, or start one. Leaving the block keeps it.

        :raises StorageError: the files cannot be written.
        """
        partial = path.with_name(path.name + _SUFFIX)
        lines = path.with_name(path.with_suffix(".idx").name + _SUFFIX)
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.touch()
            data = partial.open("r+b")
        with data:
            journal = cls(path, id_type, data, lines)
            try:
                yield journal
            finally:
                journal._remove_if_empty()

    def skip_encoded(self, digest: str) -> bool:
        """Skip the next batch if an earlier call has encoded it.

        ``digest`` covers all texts up to the end of the batch.
        """
        if self._writing or not self._resumable or self._resumable[0]["digest"] != digest:
            return False
        record = self._resumable.pop(0)
        self._add(record)
        self._lines_end = record["lines_end"]
        return True

    def append(
        self, digest: str, ids: NDArray[Any], lengths: Sequence[int], sizes: Sequence[int]
    ) -> None:
        """Write the ids of a batch, then its line. :raises StorageError: the disk is full."""
        with storage_errors(self._path):
            if not self._writing:  # the remaining batches of the earlier call do not match
                self._data.truncate(self._end)
                self._data.seek(self._end)
                self._lines.touch()
                os.truncate(self._lines, self._lines_end)
                self._resumable.clear()
                self._writing = True
            written = np.ascontiguousarray(ids, dtype=self._id_type).tobytes()
            self._data.write(written)
            self._data.flush()
            record = {
                "digest": digest,
                "lengths": list(lengths),
                "sizes": list(sizes),
                "end": self._end + len(written),
                "crc32": zlib.crc32(written),
            }
            with self._lines.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        self._add(record)

    def finish(self) -> tuple[list[int], list[int]]:
        """Rename the file to its final name. Returns the ids and the bytes of each text.

        :raises StorageError: the file cannot be renamed.
        """
        with storage_errors(self._path):
            self._data.truncate(self._end)
            self._data.flush()
            partial = Path(self._data.name)
            sync_file(partial)
            partial.replace(self._path)
            self._lines.unlink(missing_ok=True)
            sync_folder(self._path.parent)
        return self._lengths, self._sizes

    def _remove_if_empty(self) -> None:
        """Remove the data file if no batch was written."""
        if not self._lines.exists():
            Path(self._data.name).unlink(missing_ok=True)

    def _add(self, record: dict[str, Any]) -> None:
        self._lengths += record["lengths"]
        self._sizes += record["sizes"]
        self._end = record["end"]


def _valid_batches(data: BinaryIO, lines: Path) -> Iterator[dict[str, Any]]:
    """The journal's batches up to the first invalid one."""
    if not lines.exists():
        return
    lines_end = end = 0
    for line in lines.read_bytes().splitlines(keepends=True):
        try:
            record = jsonl.parse(line)
            written = data.read(record["end"] - end)
            valid = line.endswith(b"\n") and zlib.crc32(written) == record["crc32"]
        except (ValueError, KeyError, TypeError):
            return
        if not valid or len(written) != record["end"] - end:
            return
        end = record["end"]
        lines_end += len(line)
        yield {**record, "lines_end": lines_end}
