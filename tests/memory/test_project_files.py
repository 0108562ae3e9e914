"""Which files of a project are read, and in which order; odd files do no harm."""

import os
from pathlib import Path

import pytest

from codeling.memory.project_files import MAX_FILE_BYTES, list_files, nearest_first, read_text


def write(root: Path, *names: str, text: str = "x = 1\n") -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def names(root: Path) -> list[str]:
    return [file.path.as_posix() for file in list_files(root)]


def test_ignored_hidden_and_foreign_files_are_left_out(tmp_path: Path) -> None:
    root = tmp_path / "project"
    write(
        root, "a.py", "pkg/b.py", "pkg/build/c.py", "pkg/gen_d.py", "notes.txt", "deep/er/keep.py"
    )
    write(root, ".git/hook.py", "pkg/__pycache__/e.py", ".hidden.py", "node_modules/x.py")
    write(root, "env/pyvenv.cfg", "env/lib/f.py", "deep/er/out.py", "deep/out.py")
    (root / ".gitignore").write_text("build/\ngen_*.py\n!gen_kept.py\n/deep/*.py\n")
    (root / "deep" / "er" / ".gitignore").write_text("out.py\n")
    write(root, "pkg/gen_kept.py")
    assert names(root) == [
        ".hidden.py",
        "a.py",
        "deep/er/keep.py",
        "pkg/b.py",
        "pkg/gen_kept.py",
    ]


def test_symbolic_links_are_not_followed(tmp_path: Path) -> None:
    root, outside = tmp_path / "project", tmp_path / "outside"
    write(root, "a.py")
    write(outside, "secret.py")
    (root / "link.py").symlink_to(outside / "secret.py")
    (root / "folder").symlink_to(outside)
    (root / "loop").symlink_to(root)
    (root / "broken.py").symlink_to(root / "missing.py")
    assert names(root) == ["a.py"]
    assert read_text(root / "link.py") is None


@pytest.mark.parametrize(
    "data",
    [b"x = 1\0\n", "x = 'é'\n".encode("latin-1"), "x = 1\n".encode("utf-16"), b"x" * 10_000_000],
    ids=["nul", "latin-1", "utf-16", "10 MB on one line"],
)
def test_files_that_are_not_text_are_not_read(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "odd.py"
    path.write_bytes(data)
    assert read_text(path) is None
    assert len(data) <= MAX_FILE_BYTES or names(tmp_path) == []


def test_text_in_a_declared_encoding_and_special_tokens_are_text(tmp_path: Path) -> None:
    path = tmp_path / "odd.py"
    path.write_bytes("# coding: latin-1\nx = 'é <|endoftext|>'\n".encode("latin-1"))
    assert read_text(path) == "# coding: latin-1\nx = 'é <|endoftext|>'\n"


def test_missing_files_and_pipes_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    assert names(tmp_path) == []
    assert read_text(tmp_path / "missing.py") is None


def test_the_nearest_files_come_first(tmp_path: Path) -> None:
    write(tmp_path, "a/open.py", "a/sister.py", "a/b/child.py", "c/far.py", "c/wanted.py")
    write(tmp_path, "kit/__init__.py")
    for number, file in enumerate(list_files(tmp_path)):
        os.utime(tmp_path / file.path, (number, number))
    text = "from c.wanted import x\nimport kit\n"
    ordered = nearest_first(list_files(tmp_path), Path("a/open.py"), text)
    found = [file.path.as_posix() for file in ordered if file.path != Path("a/open.py")]
    assert found[:2] == ["kit/__init__.py", "c/wanted.py"]
    assert found[2:] == ["a/sister.py", "a/b/child.py", "c/far.py"]
    latest = nearest_first(list_files(tmp_path), None, "")
    assert latest[0].path == Path("kit/__init__.py")
