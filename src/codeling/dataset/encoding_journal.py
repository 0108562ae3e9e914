"""A file of ids that grows batch by batch and can be gone on with after a kill.

``NAME.bin.unfinished`` holds the ids so far, ``NAME.idx.unfinished`` is its journal: a JSON line
for each batch, with the SHA-256 of all that went in up to there, the ids of each text, the bytes
of each text, and a CRC of the batch's ids. A batch counts when its line is whole, its ids are
there and their CRC is right; what comes after the first that does not is cut off. This module
must not know what the ids mean.
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

from codeling.errors import storage_errors
from codeling.manifest import sync_file, sync_folder

_SUFFIX = ".unfinished"


class Unfinished:
    """Ids on their way to ``path``."""

    def __init__(self, path: Path, id_type: "np.dtype[Any]", data: BinaryIO, journal: Path) -> None:
        """Use :meth:`open`."""
        self._path = path
        self._id_type = id_type
        self._data = data
        self._journal = journal
        self._waiting = list(_whole_batches(data, journal))
        self._lengths: list[int] = []
        self._sizes: list[int] = []
        self._end = 0  # of what is taken over or written, in bytes of data
        self._journal_end = 0
        self._writing = False

    @classmethod
    @contextmanager
    def open(cls, path: Path, id_type: "np.dtype[Any]") -> Iterator["Unfinished"]:
        """What an earlier call left of ``path``, or nothing yet; leaving keeps what there is.

        :raises StorageError: it cannot be written.
        """
        partial = path.with_name(path.name + _SUFFIX)
        journal = path.with_name(path.with_suffix(".idx").name + _SUFFIX)
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.touch()
            data = partial.open("r+b")
        with data:
            unfinished = cls(path, id_type, data, journal)
            try:
                yield unfinished
            finally:
                unfinished._leave()

    def goes_on_with(self, digest: str) -> bool:
        """Whether the next batch is there already: ``digest`` is of all texts up to its end."""
        if self._writing or not self._waiting or self._waiting[0]["digest"] != digest:
            return False
        record = self._waiting.pop(0)
        self._note(record)
        self._journal_end = record["journal_end"]
        return True

    def append(
        self, digest: str, ids: NDArray[Any], lengths: Sequence[int], sizes: Sequence[int]
    ) -> None:
        """Write the ids of a batch and its line. :raises StorageError: there is no room."""
        with storage_errors(self._path):
            if not self._writing:  # what is left of another call's does not go on from here
                self._data.truncate(self._end)
                self._data.seek(self._end)
                self._journal.touch()
                os.truncate(self._journal, self._journal_end)
                self._waiting.clear()
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
            with self._journal.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        self._note(record)

    def finish(self) -> tuple[list[int], list[int]]:
        """Give the file its name; the ids and the bytes of each text.

        :raises StorageError: it cannot be done.
        """
        with storage_errors(self._path):
            self._data.truncate(self._end)
            self._data.flush()
            partial = Path(self._data.name)
            sync_file(partial)
            partial.replace(self._path)
            self._journal.unlink(missing_ok=True)
            sync_folder(self._path.parent)
        return self._lengths, self._sizes

    def _leave(self) -> None:
        """Remove what holds nothing."""
        if not self._journal.exists():
            Path(self._data.name).unlink(missing_ok=True)

    def _note(self, record: dict[str, Any]) -> None:
        self._lengths += record["lengths"]
        self._sizes += record["sizes"]
        self._end = record["end"]


def _whole_batches(data: BinaryIO, journal: Path) -> Iterator[dict[str, Any]]:
    """The batches of the journal, for as long as line and ids are whole."""
    if not journal.exists():
        return
    journal_end = end = 0
    for line in journal.read_bytes().splitlines(keepends=True):
        try:
            record = json.loads(line)
            written = data.read(record["end"] - end)
            whole = line.endswith(b"\n") and zlib.crc32(written) == record["crc32"]
        except (ValueError, KeyError, TypeError):
            return
        if not whole or len(written) != record["end"] - end:
            return
        end = record["end"]
        journal_end += len(line)
        yield {**record, "journal_end": journal_end}
