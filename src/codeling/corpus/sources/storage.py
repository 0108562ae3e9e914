"""Opens a file of this machine or behind a URL.

URLs go through daft, which reads S3, the Hugging Face Hub and HTTP. Never call it on a thread of
daft's own executor: the call would wait for the thread that it occupies. Tasks therefore run in
worker processes or outside daft (:mod:`codeling.corpus.build.child`).
"""

import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

READ_ERRORS = (pa.ArrowException, OSError, EOFError, zlib.error)
"""Errors raised by reading a damaged file."""


def is_remote(path: str) -> bool:
    """Whether ``path`` is a URL rather than a path of this machine."""
    return "://" in path and not path.startswith("file://")


def printable(name: str) -> str:
    r"""A file name as valid Unicode; bytes that are not UTF-8 become ``\xff``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


@contextmanager
def open_binary(location: str) -> Iterator[io.BufferedIOBase]:
    """Open a path or URL for reading; the file can seek.

    :raises OSError: it cannot be opened.
    """
    if not is_remote(location):
        with Path(location.removeprefix("file://")).open("rb") as file:
            yield file
        return
    import daft

    with daft.File(location).open() as remote:
        yield io.BufferedReader(cast("io.RawIOBase", _RemoteFile(remote)), 1 << 20)


class _RemoteFile(io.RawIOBase):
    """Adapts daft's file to Python's readers."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self._inner = inner

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into ``buffer``; return the number of bytes."""
        data = self._inner.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Set the position; return it."""
        return int(self._inner.seek(offset, whence))

    def tell(self) -> int:
        """Return the position."""
        return int(self._inner.tell())
