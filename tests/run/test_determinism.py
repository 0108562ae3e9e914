"""The same recipe twice gives the same bytes: two processes that share nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

Main = Callable[..., Any]


def contents(folder: Path, *parts: str) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for part in parts
        for path in (folder / part).rglob("*")
        if path.is_file()
    }


def test_the_same_recipe_gives_the_same_bytes(
    command: Main, finished: Path, recipe_file: Path, tmp_path: Path
) -> None:
    """Corpus, tokenizer and tokens, with another hash seed and another run folder."""
    answer = command("tokenizer", recipe_file, "--out", tmp_path / "again", PYTHONHASHSEED="12345")
    assert answer.code == 0, answer.err
    parts = ("corpus", "tokenizer", "tokens")
    ours, theirs = contents(tmp_path / "again", *parts), contents(finished, *parts)
    assert ours.keys() == theirs.keys()
    assert len(ours) == 14
    assert [name for name in ours if ours[name] != theirs[name]] == []
