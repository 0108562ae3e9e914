"""Lists the shards: the JSON Lines, Parquet and Arrow files of the table sources.

Shards are ordered by their names below the recipe's path, so the order does not depend on where
the path is. Local files are listed here. URLs are listed in the executor's child process, those of
the Hub by huggingface_hub and others by daft.
This module must not read the files.
"""

import glob
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from codeling.corpus.sources.hub_listing import HUB, list_hub
from codeling.corpus.sources.published_split import split_in_name
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
    split: str | None = None
    """Split that its name gives, or the folder of the recipe's path."""


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
                split = split_in_name(f"{Path(root).name}/{name}")
                found[os.path.realpath(location)] = Shard(
                    source, name, location, kind, status.st_size, status.st_mtime_ns, split
                )
        if len(found) == before and not any(True for _ in glob.iglob(pattern, recursive=True)):  # noqa: PTH207
            raise UsageError(f"corpus source {path}: no such file")
        if not found:
            raise UsageError(f"corpus source {path}: no .jsonl, .json, .parquet or .arrow file")
    return sorted(found.values(), key=lambda shard: (shard.name, shard.location))


def list_remote_shards(source: int, paths: Sequence[str]) -> list[Shard]:
    """List the shards behind the URLs among ``paths``, ordered by name."""
    found: dict[str, Shard] = {}
    for path in paths:
        if not is_remote(path):
            continue
        pattern = path
        if format_of(path) is None and not any(c in path for c in "*?["):
            pattern = path.rstrip("/") + "/**"
        list_files = list_hub if pattern.startswith(HUB) else _list_with_daft
        root = _fixed_prefix(pattern)
        for address, location, size in list_files(pattern):
            kind = format_of(address)
            if kind:
                name = address.removeprefix(root).lstrip("/")
                split = split_in_name(f"{root.rpartition('/')[2]}/{name}")
                found[location] = Shard(source, name, location, kind, size, split=split)
    return sorted(found.values(), key=lambda shard: (shard.name, shard.location))


def _list_with_daft(pattern: str) -> Iterator[tuple[str, str, int]]:
    import daft

    listing = daft.from_glob_path(pattern).to_pydict()
    for location, size in zip(listing["path"], listing["size"], strict=True):
        yield location, location, size or 0


def format_of(location: str) -> Format | None:
    """Return the format that the end of a file name indicates, or None."""
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
    except Exception as error:  # daft, the Hub and the services behind raise no common class
        words = [line.strip() for line in str(error).splitlines() if line.strip()]
        return json.dumps({"reason": (words or [type(error).__name__])[-1][:200]})
    return json.dumps({"shards": [asdict(shard) for shard in shards]})
