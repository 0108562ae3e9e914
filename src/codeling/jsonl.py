"""JSON Lines files: one JSON object a line, appended whole.

A killed process can leave a torn last line; readers skip it. This module must not know what the
lines mean.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
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
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            with suppress(ValueError):
                values = json.loads(line)
                if isinstance(values, dict):
                    yield values
