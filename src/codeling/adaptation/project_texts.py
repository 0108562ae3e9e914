"""The Python of one project, and which of its files are held out: the newest.

A file's age is that of the commit that added it, followed through renames; without git, or for a
file that git does not know, the time of its last change. So the held-out files are the authors'
latest, which are closest to what they write next. Secrets are redacted as in a corpus. This module
must not know tokens.
"""

import hashlib
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from codeling.corpus.filters.rules import drop_reason
from codeling.corpus.redaction.redact import redact
from codeling.corpus.sources.storage import printable
from codeling.errors import UsageError
from codeling.evaluation.syntax import parse
from codeling.memory.project_files import list_files, read_text
from codeling.quantity import quantity
from codeling.recipe import CorpusRecipe

HELD_OUT_SHARE = 0.1
"""Share of the bytes that is held out."""
MIN_FILES = 4
"""A project needs files to train on and files to measure on."""
_GIT_SECONDS = 120


@dataclass(frozen=True)
class Project:
    """Its files as training reads them: redacted, equal ones once."""

    folder: Path
    train: list["ProjectText"]
    held_out: list["ProjectText"]
    """The newest ones."""
    by_git: bool
    """Whether git knows the ages."""

    @property
    def sha256(self) -> str:
        """SHA-256 of all paths and texts."""
        digest = hashlib.sha256()
        for files in (self.train, self.held_out):
            for file in files:
                digest.update(f"{file.path}\0{len(file.text)}\0{file.text}".encode())
            digest.update(b"\1")
        return digest.hexdigest()


@dataclass(frozen=True)
class ProjectText:
    """One file of the project."""

    path: str
    """Relative to the project's folder."""
    text: str
    added: float
    """Seconds since the epoch."""
    repository: str = ""
    start_line: int = 1

    @property
    def num_bytes(self) -> int:
        """Bytes of the text in UTF-8."""
        return len(self.text.encode())


def read_project(folder: Path) -> Project:
    """The project in ``folder``, without files that git ignores and files that are not Python.

    :raises UsageError: ``folder`` cannot be read or has too few Python files.
    """
    recipe = CorpusRecipe()
    ages = added_by_git(folder)
    files, seen = [], set()
    for found in list_files(folder):
        text = read_text(folder / found.path)
        if text is None or drop_reason(text, recipe) is not None or parse(text) is None:
            continue
        text = redact(text, recipe.redaction.kinds, recipe.redaction.seed)[0]
        if text not in seen:
            seen.add(text)
            path = found.path.as_posix()
            files.append(ProjectText(printable(path), text, ages.get(path, found.modified)))
    if len(files) < MIN_FILES:
        raise UsageError(
            f"{folder}: {quantity(len(files), 'usable Python file')}; an adaptation needs "
            f"{MIN_FILES} or more (copies of a file, generated files and files that do not parse "
            "are not usable)"
        )
    train, held_out = split_newest(files)
    return Project(folder, train, held_out, bool(ages))


def split_newest(files: Sequence[ProjectText]) -> tuple[list[ProjectText], list[ProjectText]]:
    """Divide ``files`` into older ones and the newest, :data:`HELD_OUT_SHARE` of the bytes.

    Files of the same age are taken in the order of a hash of their paths. A file of more than twice
    that share is never held out, and the last file to train on is never taken.
    """
    wanted = HELD_OUT_SHARE * sum(file.num_bytes for file in files)
    newest = sorted(files, key=lambda file: (-file.added, _hash(file.path)))
    held_out: list[ProjectText] = []
    taken = 0
    for file in newest:
        fits = taken + file.num_bytes <= 2 * wanted or not held_out
        if taken < wanted and fits and len(held_out) < len(files) - 1:
            held_out.append(file)
            taken += file.num_bytes
    names = {file.path for file in held_out}
    return [file for file in files if file.path not in names], held_out


def added_by_git(folder: Path) -> dict[str, float]:
    """Path relative to ``folder`` → when git says that the file was added; empty without git."""
    command = [
        "git", "-C", str(folder), "log", "--reverse", "--diff-filter=AR", "--name-status", "-z",
        "--format=%x01%ct", "--relative", "--", "*.py",
    ]  # fmt: skip
    try:
        output = subprocess.run(command, capture_output=True, timeout=_GIT_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    found: dict[str, float] = {}
    for commit in output.stdout.decode("utf-8", "surrogateescape").split("\1")[1:]:
        time, _, rest = commit.partition("\0")
        fields = [field for field in rest.lstrip("\n").split("\0") if field]
        while fields:
            status = fields.pop(0)
            if status.startswith("R"):
                old, new = fields.pop(0), fields.pop(0)
                found[new] = found.pop(old, float(time))
            else:
                found[fields.pop(0)] = float(time)
    return found


def _hash(path: str) -> bytes:
    return hashlib.sha256(path.encode("utf-8", "surrogateescape")).digest()
