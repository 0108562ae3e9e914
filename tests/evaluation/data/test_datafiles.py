"""Files, folders and tables: what is read, what is skipped, and errors of broken files."""

import gzip
import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codeling.errors import InputError, UsageError
from codeling.evaluation.data import datafiles
from codeling.evaluation.data.datafiles import DataFile, digest, find, named, rows, texts

ROWS = [{"code": "x = 1\n", "path": "a.py"}, {"code": "y = 'é'\n", "path": "b.py"}]


def write(folder: Path) -> list[Path]:
    """Write the same rows in every format."""
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    folder.mkdir(exist_ok=True)
    (folder / "a.jsonl").write_text(lines)
    (folder / "b.jsonl.gz").write_bytes(gzip.compress(lines.encode(), mtime=0))
    (folder / "c.json").write_text(json.dumps(ROWS))
    (folder / "d.json.gz").write_bytes(gzip.compress(json.dumps(ROWS).encode(), mtime=0))
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "e.parquet")
    return sorted(folder.iterdir())


def test_every_format_gives_the_same_rows(tmp_path: Path) -> None:
    for path in write(tmp_path / "all"):
        assert list(rows(DataFile(path, path.name))) == list(enumerate(ROWS, start=1))


def test_texts_of_a_table_come_from_its_column(tmp_path: Path) -> None:
    for path in write(tmp_path / "all"):
        found = list(texts(find(str(path))))
        assert [t.text for t in found] == [row["code"] for row in ROWS]
        assert [t.path for t in found] == ["a.py", "b.py"]
        assert [t.start_line for t in found] == [1, 2]
        assert [t.text for t in texts(find(str(path)), "path")] == ["a.py", "b.py"]


def test_a_python_folder_gives_one_text_per_file_without_hidden_and_binary_files(
    tmp_path: Path,
) -> None:
    (tmp_path / "sub" / ".git").mkdir(parents=True)
    (tmp_path / "sub" / "b.py").write_text("b = 2\n")
    (tmp_path / "a.py").write_bytes("\ufeffa = 1\n".encode())
    (tmp_path / "sub" / ".git" / "hidden.py").write_text("no")
    (tmp_path / "c.py").write_bytes(b"\0binary")
    (tmp_path / "d.py").write_bytes(b"\xff\xfe")
    (tmp_path / "notes.md").write_text("beside Python, no Python")
    assert [(t.path, t.text) for t in texts(find(str(tmp_path)))] == [
        ("a.py", "a = 1\n"),
        ("sub/b.py", "b = 2\n"),
    ]


def test_the_repository_of_a_file_is_its_project(tmp_path: Path) -> None:
    for name in ("all/loose.py", "all/one/src/deep/a.py", "all/two/b.py", "all/two/sub/c.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    (tmp_path / "all" / "one" / "pyproject.toml").touch()
    (tmp_path / "all" / "two" / ".git").mkdir()
    assert {t.path: t.repository for t in texts(find(str(tmp_path / "all")))} == {
        "loose.py": "all",
        "one/src/deep/a.py": "one",
        "two/b.py": "two",
        "two/sub/c.py": "two",
    }


def test_a_folder_without_python_gives_every_text(tmp_path: Path) -> None:
    (tmp_path / "a.rst").write_text("any text\n")
    assert [t.text for t in texts(find(str(tmp_path)))] == ["any text\n"]


def test_the_digest_depends_on_bytes_and_not_on_the_path(tmp_path: Path) -> None:
    one = write(tmp_path / "one")
    two = write(tmp_path / "two")
    same = [digest([DataFile(p, p.name) for p in paths])["sha256"] for paths in (one, two)]
    assert same[0] == same[1]
    two[0].write_text("other")
    assert digest([DataFile(p, p.name) for p in two])["sha256"] != same[0]


def test_names_are_compared_case_insensitively() -> None:
    files = [DataFile(Path(name), name) for name in ("HumanEval.jsonl.gz", "x/MBPP_v1.jsonl")]
    assert [f.name for f in named(files, ("mbpp*",))] == ["x/MBPP_v1.jsonl"]


@pytest.mark.parametrize(
    "name, data",
    [
        ("a.parquet", b"PAR1 not really"),
        ("a.jsonl.gz", b"not gzip\n"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 9999, mtime=0)[:-9]),
        ("a.json", b"[{"),
        ("a.json.gz", b"\x1f\x8b"),
    ],
)
def test_a_broken_file_is_named(name: str, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(InputError, match=re.escape(f"{path}: cannot be read")):
        list(rows(DataFile(path, name)))


def test_an_incomplete_line_is_a_bad_row(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n\n[1]\n{"a": \xff\n')
    assert list(rows(DataFile(path, "a.jsonl"))) == [(1, {"a": 1}), (3, None), (4, None)]


def test_a_missing_column_is_named_with_the_existing_ones(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"body": "x"}\n')
    with pytest.raises(InputError, match=r"row 1 has no column content, .*it has body"):
        list(texts(find(str(path))))
    with pytest.raises(InputError, match="no column source; it has body; name the one"):
        list(texts(find(str(path)), "source"))


def test_missing_data_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file or folder"):
        find(str(tmp_path / "none"))
    with pytest.raises(InputError, match="no file in it"):
        find(str(tmp_path))


def test_only_tables_of_a_hub_dataset_are_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call: dict[str, object] = {}
    (tmp_path / "a.jsonl").write_text("{}\n")

    def snapshot_download(name: str, **options: object) -> str:
        call.update(options, name=name)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert [file.name for file in find("hf://owner/name@v1")] == ["a.jsonl"]
    assert call == {
        "name": "owner/name",
        "repo_type": "dataset",
        "revision": "v1",
        "allow_patterns": [f"*{ending}" for ending in datafiles.TABLES],
    }
