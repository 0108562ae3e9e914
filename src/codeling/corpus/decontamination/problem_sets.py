"""Reads published problem sets for decontamination: JSONL, optionally gzipped.

The columns are HumanEval's (``task_id``, ``prompt``, ``canonical_solution``; Chen et al. 2021).
MBPP, PandasEval and NumpyEval use them too. This module does not know how models are evaluated.
"""

import ast
import gzip
import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codeling import jsonl
from codeling.errors import CorpusError, UsageError


@dataclass(frozen=True)
class Problem:
    """The parts of a problem that a corpus may contain."""

    task_id: str
    prompt: str
    solutions: tuple[str, ...]
    """Each continues the prompt."""


def read_problems(path: Path) -> list[Problem]:
    """Read one problem set.

    ``canonical_solution`` may be a string, a list, or a list in text form as in PandasEval.

    :raises UsageError: when there is no such file.
    :raises CorpusError: when the file cannot be read or a line is not a problem.
    """
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise UsageError(f"problem set {path}: cannot be read ({error.strerror})") from error
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CorpusError(f"problem set {path}: cannot be read ({reason})") from error
    problems = [
        _problem(line, f"problem set {path}, line {number}")
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    ]
    if not problems:
        raise CorpusError(f"problem set {path}: contains no problem")
    return problems


def save(problems: Sequence[Problem], path: Path) -> None:
    """Write problems for :func:`load`."""
    path.write_text(json.dumps([asdict(problem) for problem in problems]), encoding="utf-8")


def load(path: Path) -> list[Problem]:
    """Read problems that :func:`save` wrote."""
    return [
        Problem(each["task_id"], each["prompt"], tuple(each["solutions"]))
        for each in json.loads(path.read_bytes())
    ]


def _problem(line: str, place: str) -> Problem:
    try:
        row = jsonl.parse(line)
    except jsonl.LineError as error:
        raise CorpusError(f"{place}: {error}") from error
    columns = ("task_id", "prompt", "canonical_solution")
    missing = [name for name in columns if row.get(name) is None]
    if missing:
        raise CorpusError(f"{place}: no {missing[0]}; a problem has {', '.join(columns)}")
    return Problem(str(row["task_id"]), str(row["prompt"]), _solutions(row["canonical_solution"]))


def _solutions(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) and value.startswith("["):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            return (value,)
    return tuple(map(str, value)) if isinstance(value, list) else (str(value),)
