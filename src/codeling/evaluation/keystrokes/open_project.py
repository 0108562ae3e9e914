"""The project that an editor has open while one of its files is typed.

It is the other files of the same repository, the nearest to the typed file first, as
:mod:`codeling.memory.project_files` orders them. Neither the typed file nor a near-copy of it is
among them, so nothing is found that could only come from the file itself. This module must not know
models.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from codeling.evaluation.data.document_sample import LocatedText
from codeling.memory.project_files import FoundFile, nearest_first

MAX_CHARACTERS = 3_000_000
"""Characters of a project that are read, at most."""
NEAR_COPY = 0.5
"""Share of a file's lines, from which on another file that has them too is a near-copy."""
_MIN_LINE = 8
"""Characters of a line that counts; shorter ones are in every file."""


def other_files(file: LocatedText, repository: Iterable[LocatedText]) -> list[LocatedText]:
    """The files of ``repository`` that the project of ``file`` has, the nearest first."""
    lines = {line for line in _lines(file.text) if len(line) >= _MIN_LINE}
    by_path: dict[Path, LocatedText] = {}
    for other in repository:
        if other.path != file.path and not _is_near_copy(lines, other.text):
            by_path.setdefault(Path(other.path), other)
    found = [FoundFile(path, len(other.text), 0.0) for path, other in by_path.items()]
    nearest = [by_path[each.path] for each in nearest_first(found, Path(file.path), file.text)]
    return _up_to(nearest, MAX_CHARACTERS)


def _is_near_copy(lines: set[str], other: str) -> bool:
    return len(lines & set(_lines(other))) > NEAR_COPY * len(lines)


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n")]


def _up_to(files: Sequence[LocatedText], num_characters: int) -> list[LocatedText]:
    """The first files that together have at most ``num_characters``."""
    found = []
    for file in files:
        num_characters -= len(file.text)
        if num_characters < 0:
            break
        found.append(file)
    return found
