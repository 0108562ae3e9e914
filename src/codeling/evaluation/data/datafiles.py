"""Find and read data files: paths and ``hf://`` addresses to rows and texts.

JSONL and JSON (gzipped or not) and Parquet hold rows; every other UTF-8 file is one text. Files are
identified by the SHA-256 of their bytes. This module must not know what the data is for.
"""

import fnmatch
import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeling import hub, jsonl
from codeling.errors import InputError, UsageError, first_line_of
from codeling.manifest import sha256_file

TABLES = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".parquet")
"""Suffixes of files that hold rows; every other file is one text."""
TEXT_COLUMNS = (
    "content", "text", "code", "whole_func_string", "func_code_string", "original_string",
)  # fmt: skip
"""Default text columns in order of preference: codeparrot's, the usual ones, CodeSearchNet's."""
_PROJECT_MARKERS = (".git", "pyproject.toml", "setup.py", "setup.cfg")
"""A folder that has one of these is a project."""
MAX_FILE_BYTES = 16 << 20
"""Larger files without rows are skipped: they are not written by hand."""


@dataclass(frozen=True)
class DataFile:
    """One file of a dataset."""

    path: Path
    name: str
    """Path relative to the folder or repository that was searched."""
    project: str = ""
    """The project of a file that was found in a folder: the nearest folder above it that looks like
    one, else the folder that was searched."""


@dataclass(frozen=True)
class Text:
    """One text with its location: a
    :class:`~codeling.evaluation.data.document_sample.LocatedText`."""

    repository: str
    path: str
    text: str
    start_line: int
    """Row number from 1; 1 for a file without rows."""


def find(data: str) -> list[DataFile]:
    """The file ``data``, the files below the folder ``data``, or those of an ``hf://`` address.

    Hidden files and folders are skipped. Files are sorted by name.

    :raises UsageError: the path does not exist.
    :raises InputError: there is no file in it, or the download failed.
    """
    if data.startswith(hub.SCHEME):
        path = hub.download(data, [f"*{ending}" for ending in TABLES], repo_type="dataset")
    else:
        path = Path(data).expanduser()
    if path.is_file():
        return [DataFile(path, path.name)]
    if not path.is_dir():
        raise UsageError(f"{data}: no such file or folder")
    found = []
    projects = {Path(): path.resolve().name}
    for each in sorted(path.rglob("*")):
        name = each.relative_to(path)
        if each.is_file() and not any(part.startswith(".") for part in name.parts):
            found.append(DataFile(each, name.as_posix(), _project(path, name.parent, projects)))
    if not found:
        raise InputError(f"{data}: no file in it")
    return found


def _project(top: Path, folder: Path, known: dict[Path, str]) -> str:
    """The project of ``folder``, relative to ``top``; ``known`` has those of some folders."""
    if folder not in known:
        is_project = any((top / folder / marker).exists() for marker in _PROJECT_MARKERS)
        known[folder] = folder.as_posix() if is_project else _project(top, folder.parent, known)
    return known[folder]


def named(files: Sequence[DataFile], patterns: Sequence[str]) -> list[DataFile]:
    """The files whose lower-case name matches one of ``patterns``."""
    return [
        file
        for file in files
        if any(fnmatch.fnmatchcase(Path(file.name).name.lower(), pattern) for pattern in patterns)
    ]


def digest(files: Sequence[DataFile]) -> dict[str, Any]:
    """SHA-256 of each file, and of all of them."""
    each = [
        {"name": file.name, "num_bytes": file.path.stat().st_size, "sha256": sha256_file(file.path)}
        for file in files
    ]
    listing = "".join(f"{entry['sha256']}\n" for entry in each)
    return {"sha256": hashlib.sha256(listing.encode()).hexdigest(), "files": each}


def is_table(file: DataFile) -> bool:
    """Whether the file holds rows."""
    return file.name.lower().endswith(TABLES)


def rows(file: DataFile) -> Iterator[tuple[int, Mapping[str, Any] | None]]:
    """Yield number (from 1) and values of each row; None for a row that is not a JSON object.

    :raises InputError: the file cannot be read.
    """
    name = file.name.lower()
    try:
        if name.endswith(".parquet"):
            yield from enumerate(_parquet(file.path), start=1)
        elif name.endswith((".json", ".json.gz")):
            values = json.loads(_bytes(file.path))
            listed = values if isinstance(values, list) else list(values.values())
            for number, value in enumerate(listed, start=1):
                yield number, value if isinstance(value, dict) else None
        else:
            yield from jsonl.read_numbered(file.path)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise InputError(f"{file.path}: cannot be read ({first_line_of(error)})") from error


def texts(files: Sequence[DataFile], column: str | None = None) -> Iterator[Text]:
    """Yield the texts of ``files`` in order: one per row, from ``column``, or one per file.

    If any file ends in ``.py``, other files without rows are skipped. So are files that are not
    UTF-8 text, and rows without text.

    :raises InputError: a table has no such column.
    """
    only_python = any(file.name.endswith(".py") for file in files)
    for file in files:
        if is_table(file):
            yield from _column(file, column)
        elif (not only_python or file.name.endswith(".py")) and (text := _text(file.path)):
            yield Text(file.project or file.path.name, file.name, text, 1)


def _column(file: DataFile, column: str | None) -> Iterator[Text]:
    chosen = column
    for number, values in rows(file):
        if values is None:
            continue
        if chosen is None:
            chosen = next((name for name in TEXT_COLUMNS if name in values), None)
        if chosen is None or chosen not in values:
            raise InputError(
                f"{file.path}: row {number} has no column "
                f"{chosen or ', '.join(TEXT_COLUMNS)}; it has {', '.join(sorted(values))}; "
                "name the one to read with --column"
            )
        text = values[chosen]
        if isinstance(text, str) and text:
            repository = values.get("repo_name") or values.get("repository_name") or file.name
            yield Text(str(repository), str(values.get("path") or file.name), text, number)


def _text(path: Path) -> str | None:
    """A file's text; None where it is too large, contains NUL or is not UTF-8."""
    if path.stat().st_size > MAX_FILE_BYTES:
        return None
    data = path.read_bytes()
    if b"\0" in data:
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def _bytes(path: Path) -> bytes:
    data = path.read_bytes()
    return gzip.decompress(data) if path.name.lower().endswith(".gz") else data


def _parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=256):
                yield from batch.to_pylist()
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error
