from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codeling.corpus import document
from codeling.errors import CorpusError


def rows(texts: list[str]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(
        [
            {"repo_name": "r", "path": f"{i}.py", "copies": "1", "size": str(len(text)),
             "content": text, "license": "MIT", "url": "", "python3": True}
            for i, text in enumerate(texts)
        ],
        schema=document.FILES_SCHEMA,
    )  # fmt: skip


def test_published_columns_come_first_and_are_exact() -> None:
    assert document.FILES_SCHEMA.names[:6] == [
        "repo_name", "path", "copies", "size", "content", "license",
    ]  # fmt: skip
    assert set(document.FILES_SCHEMA.types[:6]) == {pa.string()}
    assert document.FUNCTIONS_SCHEMA.names[:12] == [
        "id", "repository_name", "func_path_in_repository", "func_name", "whole_func_string",
        "language", "func_code_string", "func_code_tokens", "func_documentation_string",
        "func_documentation_string_tokens", "split_name", "func_code_url",
    ]  # fmt: skip


@pytest.mark.parametrize("cut", [1, 3, 7, 50])
def test_the_same_rows_give_the_same_parts_in_any_batches(
    cut: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document, "ROW_GROUP_ROWS", 7)
    monkeypatch.setattr(document, "PART_BYTES", 100)
    batch = rows([f"text {i}\n" for i in range(50)])
    for name, step in (("whole", 50), ("cut", cut)):
        with document.PartWriter(tmp_path / name / "train", "files") as writer:
            for start in range(0, 50, step):
                writer.write(batch.slice(start, step))
    whole = document.parts(tmp_path / "whole", "train", "files")
    assert len(whole) > 2
    for path in whole:
        assert path.read_bytes() == (tmp_path / "cut" / "train" / path.name).read_bytes()
    texts = [d.text for d in document.iterate(tmp_path / "cut", "train", "files")]
    assert texts == [f"text {i}\n" for i in range(50)]


def test_without_rows_there_is_one_empty_part(tmp_path: Path) -> None:
    with document.PartWriter(tmp_path / "test", "functions"):
        pass
    assert list(document.iterate(tmp_path, "test", "functions")) == []
    assert pq.read_schema(tmp_path / "test" / "functions-00000.parquet").equals(
        document.FUNCTIONS_SCHEMA
    )


def test_an_error_leaves_no_part(tmp_path: Path) -> None:
    def interrupted() -> None:
        with document.PartWriter(tmp_path / "train", "files") as writer:
            writer.write(rows(["x = 1\n"] * 2000))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        interrupted()
    assert list((tmp_path / "train").iterdir()) == []


@pytest.mark.parametrize("damage", ["missing", "truncated", "foreign"])
def test_a_folder_without_a_corpus_gives_a_one_line_error(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "train" / "files-00000.parquet"
    if damage == "truncated":
        with document.PartWriter(tmp_path / "train", "files") as writer:
            writer.write(rows(["x = 1\n"]))
        path.write_bytes(path.read_bytes()[:-20])
    elif damage == "foreign":
        path.parent.mkdir()
        pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(CorpusError) as caught:
        list(document.iterate(tmp_path, "train", "files"))
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)
