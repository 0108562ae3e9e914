"""The same recipe twice gives the same bytes: two processes that share nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

Main = Callable[..., Any]


def contents(folder: Path, *rooms: str) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for room in rooms
        for path in (folder / room).rglob("*")
        if path.is_file()
    }


def test_same_recipe_same_bytes(
    command: Main, finished: Path, recipe_file: Path, tmp_path: Path
) -> None:
    """Corpus, tokenizer and tokens; with another seed of hashes and another folder to start in."""
    answer = command("tokenizer", recipe_file, "--out", tmp_path / "again", PYTHONHASHSEED="12345")
    assert answer.code == 0, answer.err
    rooms = ("corpus", "tokenizer", "tokens")
    ours, theirs = contents(tmp_path / "again", *rooms), contents(finished, *rooms)
    assert ours.keys() == theirs.keys()
    assert len(ours) == 14
    assert [name for name in ours if ours[name] != theirs[name]] == []
