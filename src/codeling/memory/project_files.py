"""The Python files of a project, nearest to the open file first.

Ignored files (``.gitignore``), hidden and virtual environments' folders, and everything behind a
symbolic link are left out, as are files that are too large or not text. Nothing is written. This
module must not know tokens.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec

from codeling.errors import UsageError
from codeling.source_text import UndecodableError, decode

MAX_FILE_BYTES = 1_000_000
"""A larger file is data, not code."""
MAX_FILES = 20_000
"""Files looked at; a folder with more is not one project."""

_SKIPPED_FOLDERS = {"__pycache__", "node_modules", "site-packages"}
_IMPORT = re.compile(r"^\s*(?:from\s+([.\w]+)\s+import|import\s+([.\w]+))", re.MULTILINE)


@dataclass(frozen=True)
class FoundFile:
    """A file that may be read."""

    path: Path
    """Below the project's folder, relative to it."""
    num_bytes: int
    modified: float
    """Seconds since the epoch."""


def list_files(root: Path) -> list[FoundFile]:
    """The Python files of a project, sorted by path.

    :raises UsageError: ``root`` is not a folder that can be read.
    """
    try:
        found = list(_walk(root, Path(), []))
    except OSError as error:
        raise UsageError(f"{root}: no folder that can be read; give a project's folder") from error
    return sorted(found, key=lambda file: file.path)[:MAX_FILES]


def _walk(
    root: Path, folder: Path, ignored: Sequence[tuple[Path, GitIgnoreSpec]]
) -> Iterator[FoundFile]:
    """Files below ``folder``, relative to ``root``; ``ignored`` are the rules of folders above."""
    with os.scandir(root / folder) as entries:
        by_name = {entry.name: entry for entry in entries}
    rules = by_name.get(".gitignore")
    if rules is not None and rules.is_file(follow_symlinks=False):
        text = Path(rules.path).read_text(encoding="utf-8", errors="replace")
        ignored = [*ignored, (folder, GitIgnoreSpec.from_lines(text.splitlines()))]
    if folder != Path() and "pyvenv.cfg" in by_name:
        return
    for name, entry in sorted(by_name.items()):
        path = folder / name
        if entry.is_dir(follow_symlinks=False):
            is_skipped = name.startswith(".") or name in _SKIPPED_FOLDERS
            if not is_skipped and not _is_ignored(path, ignored, "/"):
                try:
                    yield from _walk(root, path, ignored)
                except PermissionError:
                    continue
        elif name.endswith(".py") and entry.is_file(follow_symlinks=False):
            status = entry.stat(follow_symlinks=False)
            if status.st_size <= MAX_FILE_BYTES and not _is_ignored(path, ignored):
                yield FoundFile(path, status.st_size, status.st_mtime)


def _is_ignored(
    path: Path, ignored: Sequence[tuple[Path, GitIgnoreSpec]], ending: str = ""
) -> bool:
    """Whether the last rule that matches excludes ``path``, as git decides."""
    verdict = None
    for folder, rules in ignored:
        result = rules.check_file(path.relative_to(folder).as_posix() + ending)
        verdict = result.include if result.include is not None else verdict
    return bool(verdict)


def nearest_first(
    files: Sequence[FoundFile], open_path: Path | None, open_text: str
) -> list[FoundFile]:
    """Sort by nearness to the open file: what it imports, its folder, the latest changed."""
    if open_path is None:
        return sorted(files, key=lambda file: (-file.modified, file.path))
    imported = {
        part
        for match in _IMPORT.finditer(open_text)
        for part in (match[1] or match[2]).strip(".").split(".")
        if part
    }

    def distance(file: FoundFile) -> tuple[bool, int, float, Path]:
        own = file.path.parent.name if file.path.name == "__init__.py" else file.path.stem
        shared = zip(file.path.parent.parts, open_path.parent.parts, strict=False)
        num_shared = next((n for n, (a, b) in enumerate(shared) if a != b), None)
        if num_shared is None:
            num_shared = min(len(file.path.parts), len(open_path.parts)) - 1
        far = len(file.path.parts) + len(open_path.parts) - 2 * num_shared
        return own not in imported, far, -file.modified, file.path

    return sorted(files, key=distance)


def read_text(path: Path) -> str | None:
    """Text of a file; None if it is missing, too large, a symbolic link, or not text."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        return decode(data) if len(data) <= MAX_FILE_BYTES else None
    except (OSError, UndecodableError):
        return None
