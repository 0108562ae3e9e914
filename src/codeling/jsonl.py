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

_TYPE_NAMES = (
    (bool, "a boolean"),
    (int | float, "a number"),
    (str, "a string"),
    (list, "a list"),
    (dict, "an object"),
    (type(None), "null"),
)


class LineError(ValueError):
    """A line is not a JSON object; the text says why, without the line's number."""


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


def parse(line: str | bytes) -> dict[str, Any]:
    """Return the JSON object of one line (bytes are UTF-8).

    :raises LineError: the line is not JSON, or another kind of value.
    """
    try:
        values = json.loads(line)
    except UnicodeDecodeError as error:
        raise LineError("not UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise LineError(f"not JSON: {str(error).partition(chr(10))[0][:200]}") from error
    if not isinstance(values, dict):
        raise LineError(f"{type_name(values)} where an object is expected")
    return values


def type_name(value: object) -> str:
    """JSON's word for the type of ``value``, with its article; other types by their class name."""
    names = (name for kind, name in _TYPE_NAMES if isinstance(value, kind))
    return next(names, type(value).__name__)


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        return parse(line)
    except LineError:
        return None
