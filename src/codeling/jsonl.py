"""JSON Lines files: one JSON object per line.

A killed process can leave an incomplete last line; :func:`read` skips it. This module must not
know what the lines mean.
"""

import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from codeling.errors import storage_errors


def append(path: Path, values: Mapping[str, Any]) -> None:
    """Add one line to ``path``. :raises StorageError: it cannot be written."""
    with storage_errors(path), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(values, ensure_ascii=False) + "\n")


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of ``path``; skip other lines. A missing file is empty."""
    if not path.exists():
        return
    for _, values in read_numbered(path):
        if values is not None:
            yield values


def read_numbered(path: Path) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Yield the number (from 1) and the values of each line that is not blank.

    The values are None where the line is not a JSON object. Files whose name ends in ``.gz`` are
    decompressed.

    :raises OSError: the file cannot be read.
    :raises EOFError: the compressed data is truncated.
    :raises zlib.error: the compressed data is damaged.
    """
    is_compressed = path.name.lower().endswith(".gz")
    with path.open("rb") as raw, gzip.open(raw) if is_compressed else raw as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, _object(line)


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None
