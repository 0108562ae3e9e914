"""One bad value costs one row, in every text column of both layouts and in every format."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codeling.corpus import document
from codeling.corpus.build.pipeline import build
from codeling.corpus.readers.partition import read_partition
from codeling.corpus.readers.raw_document import RawDocument
from codeling.corpus.sources.partitions import make_partitions
from codeling.corpus.sources.pieces import split_shard
from codeling.corpus.sources.shards import list_local_shards
from codeling.errors import CorpusError
from codeling.progress import SILENT
from codeling.recipe import CorpusRecipe

CODE = "def f(a):\n    b = a + 1\n    return b * a + {number}\n"
FILE = {"repo_name": "o/r", "path": "a.py", "content": CODE, "license": "mit", "url": "https://h/a"}
ORIGINAL = {
    "repo": "o/r", "path": "a.py", "func_name": "f", "original_string": CODE,
    "code_tokens": ["def", "f"], "docstring": "Say.", "docstring_tokens": ["Say", "."],
    "url": "https://h/a.py#L1-L3", "partition": "train", "language": "python", "license": "mit",
}  # fmt: skip
HUB_NAMES = {
    "repo": "repository_name", "path": "func_path_in_repository",
    "original_string": "whole_func_string", "code_tokens": "func_code_tokens",
    "docstring": "func_documentation_string",
    "docstring_tokens": "func_documentation_string_tokens", "url": "func_code_url",
    "partition": "split_name",
}  # fmt: skip
HUB = {HUB_NAMES.get(name, name): value for name, value in ORIGINAL.items()}
LAYOUTS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "codeparrot": ("codeparrot", FILE),
    "codesearchnet": ("codesearchnet", ORIGINAL),
    "hub": ("codesearchnet", HUB),
}
SURROGATE = "x\ud83dy"
BAD_VALUES: dict[str, Any] = {
    "surrogate": SURROGATE, "number": 5, "fraction": 0.5, "boolean": False, "list": ["a"],
    "object": {"a": 1}, "list of surrogates": [SURROGATE], "list of numbers": [1, 2],
    "list of null": [None], "deep list": [["a"]],
}  # fmt: skip
TEXTS = {"content", "original_string", "whole_func_string"}
LISTS = {"code_tokens", "docstring_tokens", HUB_NAMES["code_tokens"],
         HUB_NAMES["docstring_tokens"]}  # fmt: skip


def expected_reason(column: str, value: Any) -> str | None:
    """Reason for ``value`` in ``column``; the text of a row has its own for a bad encoding."""
    if column in TEXTS and isinstance(value, str):
        return "wrong_encoding"
    return None if column in LISTS and value == ["a"] else "bad_row"


def recipe(kind: str, path: Path, **settings: Any) -> CorpusRecipe:
    source = {"kind": kind, "paths": str(path)}
    values = {"sources": [source], "near_duplicates": {"enabled": False}, **settings}
    return CorpusRecipe.model_validate(values)


def read(settings: CorpusRecipe) -> list[RawDocument]:
    (source,) = settings.sources
    shards = list_local_shards(0, source.paths)  # type: ignore[union-attr]
    parts = make_partitions([], [(shard, split_shard(shard)) for shard in shards])
    return [document for part in parts for document in read_partition(part, settings)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_build_counts_each_bad_row_of_json_and_keeps_the_rest(
    layout: str, tmp_path: Path
) -> None:
    kind, good = LAYOUTS[layout]
    text = next(name for name in good if name in TEXTS)
    rows: list[dict[str, Any]] = []
    reasons: list[str | None] = []
    for column in good:
        for value in BAD_VALUES.values():
            for is_bad in (True, False):
                code = CODE.replace("{number}", str(len(rows)))
                rows.append({**good, text: code, **({column: value} if is_bad else {})})
                reasons.append(expected_reason(column, value) if is_bad else None)
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = build(recipe(kind, path), tmp_path / "out", SILENT)
    listed = {problem["row"]: problem["reason"] for problem in report["problems"]}
    assert listed == {i: r for i, r in enumerate(reasons) if r == "bad_row"}
    table: document.Table = "files" if kind == "codeparrot" else "functions"
    kept = [d.text for s in document.SPLITS for d in document.iterate(tmp_path / "out", s, table)]
    assert sorted(kept) == sorted(
        row[text] for row, reason in zip(rows, reasons, strict=True) if reason is None
    )
    dropped = report["files_dropped"] | report["functions_dropped"]
    assert {r: dropped[r].get("files", 0) + dropped[r].get("functions", 0) for r in dropped} == {
        "bad_row": reasons.count("bad_row"), "wrong_encoding": reasons.count("wrong_encoding")
    }  # fmt: skip


@pytest.mark.parametrize("form", ["parquet", "arrow"])
@pytest.mark.parametrize("keywords", [[], ["return"], ["pandas"]])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_text_that_is_not_utf8_drops_one_row_of_a_table(
    layout: str, keywords: list[str], form: str, tmp_path: Path
) -> None:
    kind, good = LAYOUTS[layout]
    for number, column in enumerate(good):
        data: dict[str, pa.Array] = {}
        for name, value in good.items():
            texts = [value] * 3 if isinstance(value, str) else list(value) * 3
            raw = pa.array([str(text).encode() for text in texts], pa.binary())
            if name == column:
                raw = pa.array([v.as_py() if i else b"\xff" for i, v in enumerate(raw)])
            array = raw.view(pa.string())
            if not isinstance(value, str):
                size = len(value)
                array = pa.ListArray.from_arrays([0, size, 2 * size, 3 * size], array)
            data[name] = array
        path = tmp_path / f"{number}.{form}"
        write(path, pa.table(data))
        found = read(recipe(kind, path, keywords=keywords))
        outside = "no_keyword" if keywords == ["pandas"] and kind == "codeparrot" else None
        expected = "wrong_encoding" if column in TEXTS and kind != "codeparrot" else "bad_row"
        if outside and column in {"license", "url"}:  # not read of what is outside
            expected = outside
        if column == "content":  # bytes, which the filters decode like those of a file
            assert isinstance(found[0].data, bytes)
            expected = ""
        assert [document.reason or "" for document in found] == [
            expected, outside or "", outside or ""
        ], column  # fmt: skip


def write(path: Path, table: pa.Table) -> None:
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_column_of_the_wrong_type_is_one_clear_error(layout: str, tmp_path: Path) -> None:
    kind, good = LAYOUTS[layout]
    for number, column in enumerate(good):
        for i, value in enumerate((5, 0.5, True, {"a": 1}, [[1]])):
            path = tmp_path / f"{number}-{i}.parquet"
            write(path, pa.Table.from_pylist([{**good, column: value}] * 2))
            found = read(recipe(kind, path))
            assert [document.reason for document in found] == ["bad_row"] * 2
            assert str(found[0].detail).startswith(f"{column}: ")
    path = tmp_path / "moment.parquet"
    write(path, pa.table({**{k: [v] for k, v in good.items()},
                          "license": pa.array([2**60], pa.timestamp("ms"))}))  # fmt: skip
    (found_,) = read(recipe(kind, path))
    assert found_.detail == "license: timestamp[ms] where a string is expected"
    with pytest.raises(
        CorpusError, match=r"1 file dropped \(bad_row 1; moment\.parquet: 1 bad row"
    ):
        build(recipe(kind, path), tmp_path / "out", SILENT)


def test_a_table_of_the_users_own_may_have_integers_as_names(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write(path, pa.Table.from_pylist([{"content": CODE, "repo_name": 12, "path": 0}]))
    (found,) = read(recipe("rows", path))
    assert (found.reason, found.repository, found.path) == (None, "12", "0")


@pytest.mark.parametrize(
    ("url", "lines"),
    [("#L5-L7", (5, 7)), ("#L5", (5, 5)), ("", (1, 4)), ("#L" + "9" * 5_000, (1, 4)),
     ("#L9999999999-L99999999999", (1, 4)), ("#L\u0665", (1, 4))],
)  # fmt: skip
def test_lines_of_a_link_that_no_file_has_are_ignored(
    url: str, lines: tuple[int, int], tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({**ORIGINAL, "url": f"https://h/a.py{url}"}) + "\n")
    (found,) = read(recipe("codesearchnet", path))
    assert found.function is not None
    assert (found.function.start_line, found.function.end_line) == lines


def test_a_shard_whose_name_is_not_utf8_is_read(tmp_path: Path) -> None:
    path = Path(str(tmp_path / "a\udcff.jsonl"))
    values = {"content": CODE, "repo_name": "o/r"}
    path.write_text(
        "".join(json.dumps({**values, "content": f"{CODE}{i}\n"}) + "\n" for i in range(9))
    )
    report = build(recipe("rows", tmp_path), tmp_path / "out", SILENT)
    assert report["totals"]["files"] == 9
