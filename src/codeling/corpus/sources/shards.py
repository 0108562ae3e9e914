"""Lists the shards: the JSON Lines, Parquet and Arrow files of the table sources.

Shards are ordered by their names below the recipe's path, so the order does not depend on where
the path is. Local files are listed here. URLs are listed by daft, in the executor's child process.
This module must not read the files.
"""

import glob
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from codeling.corpus.sources.storage import is_remote, printable
from codeling.errors import UsageError

Format = Literal["json", "json.gz", "parquet", "arrow"]
_FORMATS: tuple[tuple[str, Format], ...] = (
    (r"\.jsonl?\.gz", "json.gz"),
    (r"\.(?:jsonl?|ndjson)", "json"),
    (r"\.parquet", "parquet"),
    (r"\.(?:arrow|feather)", "arrow"),
)


@dataclass(frozen=True)
class Shard:
    """One file of rows."""

    source: int
    """Index of its source in the recipe."""
    name: str
    """POSIX path below the recipe's path."""
    location: str
    """Path of this machine, or URL."""
    format: Format
    num_bytes: int
    """Size on disk."""
    mtime_ns: int = 0
    """Modification time; 0 for a URL."""


def list_local_shards(source: int, paths: Sequence[str]) -> list[Shard]:
    """List the shards of the local ``paths`` of one source, ordered by name.

    :raises UsageError: a path matches no shard.
    """
    found: dict[str, Shard] = {}
    for path in paths:
        if is_remote(path):
            continue
        pattern = path.removeprefix("file://")
        if os.path.isdir(pattern):  # noqa: PTH112
            pattern = f"{glob.escape(pattern)}/**/*"
        before = len(found)
        root = _fixed_prefix(pattern)
        for location in glob.iglob(pattern, recursive=True):  # noqa: PTH207
            kind = format_of(location)
            if kind and os.path.isfile(location):  # noqa: PTH113
                status = Path(location).stat()
                name = printable(os.path.relpath(location, root).replace(os.sep, "/"))
                found[os.path.realpath(location)] = Shard(
                    source, name, location, kind, status.st_size, status.st_mtime_ns
                )
        if len(found) == before and not any(True for _ in glob.iglob(pattern, recursive=True)):  # noqa: PTH207
            raise UsageError(f"corpus source {path}: no such file")
        if not found:
            raise UsageError(f"corpus source {path}: no .jsonl, .json, .parquet or .arrow file")
    return sorted(found.values(), key=lambda shard: (shard.name, shard.location))


def list_remote_shards(source: int, paths: Sequence[str]) -> list[Shard]:
    """List the shards behind the URLs among ``paths``, ordered by name."""
    import daft

    found: dict[str, Shard] = {}
    for path in paths:
        if not is_remote(path):
            continue
        pattern = path
        if format_of(path) is None and not any(c in path for c in "*?["):
            pattern = path.rstrip("/") + "/**"
        listing = daft.from_glob_path(pattern).to_pydict()
        root = _fixed_prefix(pattern)
        for location, size in zip(listing["path"], listing["size"], strict=True):
            kind = format_of(location)
            if kind:
                name = location.removeprefix(root).lstrip("/")
                found[location] = Shard(source, name, location, kind, size or 0)
    return sorted(found.values(), key=lambda shard: (shard.name, shard.location))


def format_of(location: str) -> Format | None:
    """Return the format that the end of a file name stands for, or None."""
    for ending, name in _FORMATS:
        if re.search(ending + r"$", location, re.IGNORECASE):
            return name
    return None


def _fixed_prefix(pattern: str) -> str:
    """The folder before the first wildcard of a pattern."""
    plain = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    return plain.rpartition("/")[0] if "/" in plain else ""


def list_remote(task: str, settings: str, heartbeat: Callable[[str], None]) -> str:
    """Run :func:`list_remote_shards` as a task: JSON ``[source, paths]`` in.

    JSON out: ``shards``, or ``reason`` in the service's words where listing fails.
    """
    source, paths = json.loads(task)
    try:
        shards = list_remote_shards(source, paths)
    except Exception as error:  # daft and the services behind it raise no common class
        words = [line.strip() for line in str(error).splitlines() if line.strip()]
        return json.dumps({"reason": (words or [type(error).__name__])[-1][:200]})
    return json.dumps({"shards": [asdict(shard) for shard in shards]})
