import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codeling.corpus import document
from codeling.corpus.build.pipeline import build
from codeling.errors import UsageError
from codeling.progress import SILENT
from codeling.recipe import CorpusRecipe


def recipe(*sources: dict[str, Any], **settings: Any) -> CorpusRecipe:
    return CorpusRecipe.model_validate({"sources": sources, **settings})


def file_row(i: int, **values: Any) -> dict[str, Any]:
    text = f"def mean_{i}(values):\n    total_{i} = sum(values)\n    return total_{i} / 2\n"
    row = {"repo_name": f"owner/r{i % 7}", "path": f"src/m{i}.py", "copies": str(i % 3 + 1)}
    return {**row, "size": str(len(text)), "content": text, "license": "mit", **values}


def function_row(i: int, **values: Any) -> dict[str, Any]:
    """A row in CodeSearchNet's original columns."""
    text = f'def f{i}(a):\n        """Say {i}."""\n        return a + {i}'
    return {
        "repo": f"owner/r{i % 7}", "path": f"src/m{i}.py", "func_name": f"f{i}",
        "original_string": text, "language": "python", "code": text,
        "code_tokens": ["def", f"f{i}", "(", "a", ")", ":", "return", "a", "+", str(i)],
        "docstring": f"Say {i}.", "docstring_tokens": ["Say", str(i), "."], "sha": "ab" * 20,
        "url": f"https://github.com/owner/r{i % 7}/blob/{'ab' * 20}/src/m{i}.py#L{i + 5}-L{i + 7}",
        "partition": ("train", "valid", "test")[i % 3], **values,
    }  # fmt: skip


HUB = {
    "repo": "repository_name", "path": "func_path_in_repository", "func_name": "func_name",
    "original_string": "whole_func_string", "language": "language", "code": "func_code_string",
    "code_tokens": "func_code_tokens", "docstring": "func_documentation_string",
    "docstring_tokens": "func_documentation_string_tokens", "partition": "split_name",
    "url": "func_code_url",
}  # fmt: skip


def write_json(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def write_parquet(path: Path, rows: list[dict[str, Any]], group: int = 10) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=group)
    return path


def write_arrow(path: Path, rows: list[dict[str, Any]], stream: bool) -> Path:
    table = pa.Table.from_pylist(rows)
    make = pa.ipc.new_stream if stream else pa.ipc.new_file
    with make(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=7)
    return path


def read(folder: Path, table: document.Table) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for split in document.SPLITS:
        for path in document.parts(folder, split, table):
            rows += pq.read_table(path).to_pylist()
    return rows


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".json")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_codeparrot_in_every_format_gives_the_same_tables(tmp_path: Path) -> None:
    rows = [file_row(i) for i in range(60)]
    shards = {
        "jsonl": write_json(tmp_path / "a.jsonl", rows),
        "gz": write_json(tmp_path / "a.json.gz", rows),
        "parquet": write_parquet(tmp_path / "a.parquet", rows),
        "arrow": write_arrow(tmp_path / "a.arrow", rows, stream=False),
        "stream": write_arrow(tmp_path / "b.arrow", rows, stream=True),
    }
    built = {}
    for name, path in shards.items():
        out = tmp_path / "out" / name
        source = {"kind": "codeparrot", "paths": str(path)}
        report = build(recipe(source, test_share=0.2, validation_share=0.2), out, SILENT)
        assert report["totals"]["files"] == report["totals"]["files_found"] == 60
        built[name] = contents(out)
    assert all(tables == built["jsonl"] for tables in built.values())
    found = {row["path"]: row for row in read(tmp_path / "out" / "gz", "files")}
    assert found["src/m5.py"]["copies"] == "3"
    assert found["src/m5.py"]["license"] == "mit"
    assert report["split_by"] == "repository"


def test_codesearchnet_in_both_layouts_gives_its_own_columns_back(tmp_path: Path) -> None:
    rows = [function_row(i) for i in range(42)]
    hub = [{theirs: row[ours] for ours, theirs in HUB.items()} for row in rows]
    original = write_json(tmp_path / "train" / "python_train_0.jsonl.gz", rows)
    parquet = write_parquet(tmp_path / "in" / "train-00000-of-00001.parquet", hub)
    for path, name in ((original.parent, "original"), (parquet.parent, "hub")):
        source = {"kind": "codesearchnet", "paths": str(path)}
        report = build(recipe(source), tmp_path / name, SILENT)
        assert report["totals"]["functions"] == report["totals"]["functions_found"] == 42
        assert report["totals"]["files_found"] == 0
    assert contents(tmp_path / "original") == contents(tmp_path / "hub")
    found = {row["func_name"]: row for row in read(tmp_path / "hub", "functions")}
    for row in hub:
        kept = found[row["func_name"]]
        assert {name: kept[name] for name in row if name != "split_name"} == {
            name: value for name, value in row.items() if name != "split_name"
        }
    assert (found["f3"]["start_line"], found["f3"]["end_line"]) == (8, 10)


@pytest.mark.parametrize("split", ["repository", "published"])
def test_the_published_split_is_kept_where_asked(split: str, tmp_path: Path) -> None:
    rows = [function_row(i) for i in range(42)]
    path = write_json(tmp_path / "a.jsonl", rows)
    source = {"kind": "codesearchnet", "paths": str(path), "split": split}
    report = build(recipe(source, test_share=0.2, validation_share=0.2), tmp_path / "out", SILENT)
    found = {row["func_name"]: row["split_name"] for row in read(tmp_path / "out", "functions")}
    sides = {row["repo"]: {found[r["func_name"]] for r in rows if r["repo"] == row["repo"]}
             for row in rows}  # fmt: skip
    assert report["split_by"] == split
    if split == "published":
        assert found == {row["func_name"]: row["partition"] for row in rows}
    else:
        assert all(len(side) == 1 for side in sides.values())


def test_any_table_with_a_map_of_its_columns(tmp_path: Path) -> None:
    rows = [{"code": file_row(i)["content"], "project": f"p{i % 5}"} for i in range(20)]
    path = write_parquet(tmp_path / "mine.parquet", rows)
    source = {
        "kind": "rows", "paths": str(path), "columns": {"content": "code", "repo_name": "project"}
    }  # fmt: skip
    build(recipe(source), tmp_path / "out", SILENT)
    found = read(tmp_path / "out", "files")
    assert {row["path"] for row in found} == {f"mine.parquet#{i}" for i in range(20)}
    assert {row["repo_name"] for row in found} == {f"p{i}" for i in range(5)}


def test_files_come_before_rows_and_are_kept(tmp_path: Path) -> None:
    rows = [file_row(i) for i in range(12)]
    write_json(tmp_path / "a.jsonl", rows)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "own.py").write_text(rows[4]["content"])
    sources = [
        {"kind": "codeparrot", "paths": str(tmp_path / "a.jsonl")},
        {"kind": "folder", "path": str(tmp_path / "code")},
    ]
    report = build(recipe(*sources), tmp_path / "out", SILENT)
    assert report["files_dropped"]["duplicate"]["files"] == 1
    (own,) = (row for row in read(tmp_path / "out", "files") if row["path"] == "own.py")
    assert own["copies"] == str(1 + int(rows[4]["copies"]))
    names = [source["repository"] for source in report["sources"]]
    assert names == ["code", "codeparrot"]


def test_a_share_is_sampled_by_seed_and_position(tmp_path: Path) -> None:
    write_json(tmp_path / "a.jsonl", [file_row(i) for i in range(300)])
    drawn = {}
    for weight in (0.2, 0.5, 1.0):
        source = {"kind": "codeparrot", "paths": str(tmp_path / "a.jsonl"), "weight": weight}
        report = build(recipe(source), tmp_path / str(weight), SILENT)
        drawn[weight] = {row["path"] for row in read(tmp_path / str(weight), "files")}
        assert abs(len(drawn[weight]) - 300 * weight) < 45
        dropped = report["files_dropped"].get("not_drawn", {"files": 0})["files"]
        assert dropped == 300 - len(drawn[weight])
    assert drawn[0.2] < drawn[0.5] < drawn[1.0]
    source = {"kind": "codeparrot", "paths": str(tmp_path / "a.jsonl"), "weight": 0.5}
    build(recipe(source, seed=1), tmp_path / "other", SILENT)
    assert {row["path"] for row in read(tmp_path / "other", "files")} != drawn[0.5]


def problems(report: dict[str, Any]) -> list[tuple[str, int | None, str]]:
    return [(p["file"], p["row"], p["reason"]) for p in report["problems"]]


def test_bad_input_is_named_and_the_rest_kept(tmp_path: Path) -> None:
    good = [file_row(i) for i in range(40)]
    data = "".join(json.dumps(row) + "\n" for row in good[:20]).encode()
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(data)[:-9])
    mixed: list[Any] = [
        good[20],
        {**good[21], "content": None},
        {"text": "x = 1", "repo_name": "a/b", "path": "c.py"},
        {**good[22], "content": 5},
        {**good[23], "copies": "many", "license": None},
        ["no", "object"],
    ]
    lines = [*map(json.dumps, mixed), '{"content": "broken', "", json.dumps(good[24])]
    (tmp_path / "b.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "c.jsonl").write_bytes(b"")
    write_parquet(tmp_path / "d.parquet", [{"path": "a.py", "content": "x = 1"}] * 3)
    write_parquet(tmp_path / "e.parquet", good[25:40])
    whole = (tmp_path / "e.parquet").read_bytes()
    (tmp_path / "f.parquet").write_bytes(whole[:-100])
    (tmp_path / "g.json.gz").write_bytes(b"not gzip at all")
    pq.write_table(pa.Table.from_pylist(good[:1]).slice(0, 0), tmp_path / "h.parquet")
    report = build(recipe({"kind": "codeparrot", "paths": str(tmp_path)}), tmp_path / "o", SILENT)
    found = problems(report)
    kept_of_gzip = next(row for file, row, _ in found if file == "a.json.gz")
    assert found == [
        ("a.json.gz", kept_of_gzip, "truncated"),
        ("b.jsonl", 1, "no_content"),
        ("b.jsonl", 2, "missing_column"),
        ("b.jsonl", 3, "bad_row"),
        ("b.jsonl", 5, "bad_row"),
        ("b.jsonl", 6, "bad_row"),
        ("c.jsonl", None, "empty_shard"),
        ("d.parquet", None, "missing_column"),
        ("f.parquet", 0, "unreadable"),
        ("g.json.gz", 0, "unreadable"),
        ("h.parquet", None, "empty_shard"),
    ]
    assert kept_of_gzip is not None
    paths = {row["path"] for row in read(tmp_path / "o", "files")}
    kept = [*range(kept_of_gzip), 20, 23, 24, *range(25, 40)]
    assert paths == {good[i]["path"] for i in kept}
    totals = report["totals"]
    dropped = sum(count["files"] for count in report["files_dropped"].values())
    assert totals["files_found"] == totals["files"] + dropped
    assert str(tmp_path) not in json.dumps(report)


def test_a_row_that_is_too_large_is_named_and_the_rest_kept(tmp_path: Path) -> None:
    # With files of at most 10 kB, a line of JSON may have 1.2 MB.
    rows = [file_row(0), file_row(1, content="x = 1\n" * 200_000), file_row(2)]
    write_json(tmp_path / "a.jsonl", rows)
    write_parquet(tmp_path / "b.parquet", [{**row, "path": f"b/{row['path']}"} for row in rows])
    source = {"kind": "codeparrot", "paths": str(tmp_path)}
    report = build(recipe(source, max_bytes=10_000), tmp_path / "out", SILENT)
    assert problems(report) == [("a.jsonl", 1, "too_large"), ("b.parquet", 1, "too_large")]
    assert {row["path"] for row in read(tmp_path / "out", "files")} == {"src/m0.py", "src/m2.py"}


def test_rows_that_do_not_follow_codesearchnets_layout(tmp_path: Path) -> None:
    rows = [function_row(i) for i in range(5)]
    rows[1]["language"] = "ruby"
    rows[2]["code_tokens"] = "def f2"
    del rows[3]["func_name"]
    write_json(tmp_path / "a.jsonl", rows)
    report = build(
        recipe({"kind": "codesearchnet", "paths": str(tmp_path)}), tmp_path / "out", SILENT
    )
    assert problems(report) == [("a.jsonl", 2, "bad_row"), ("a.jsonl", 3, "missing_column")]
    assert report["functions_dropped"]["other_language"]["functions"] == 1
    names = {row["func_name"] for row in read(tmp_path / "out", "functions")}
    assert names == {"f0", "f4"}


def test_text_of_rows_is_normalised_like_that_of_files(tmp_path: Path) -> None:
    text = file_row(0)["content"]
    rows = [
        file_row(0, content="\ufeff" + text.replace("\n", "\r\n") + "# é\n"),
        file_row(1, content="# coding: latin-1\n" + text + "# é\n"),
        file_row(2, content=text + "\0"),
        file_row(3, content=text + "# \ud800\n"),
    ]
    write_json(tmp_path / "a.jsonl", rows)
    report = build(recipe({"kind": "codeparrot", "paths": str(tmp_path)}), tmp_path / "o", SILENT)
    found = {row["path"]: row["content"] for row in read(tmp_path / "o", "files")}
    assert found == {
        "src/m0.py": text + "# é\n",
        "src/m1.py": "# coding: latin-1\n" + text + "# é\n",
    }
    assert {name: count["files"] for name, count in report["files_dropped"].items()} == {
        "nul_bytes": 1, "wrong_encoding": 1
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["codeparrot", "codesearchnet", "rows"])
def test_a_path_without_rows_is_wrong_use(kind: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone/\*\.jsonl: no such file"):
        build(recipe({"kind": kind, "paths": f"{tmp_path}/gone/*.jsonl"}), tmp_path, SILENT)
    (tmp_path / "notes.txt").write_text("no rows")
    with pytest.raises(UsageError, match=r"no \.jsonl, \.json, \.parquet or \.arrow file$"):
        build(recipe({"kind": kind, "paths": str(tmp_path)}), tmp_path, SILENT)


def test_the_slice_is_the_same_by_column_and_by_row(tmp_path: Path) -> None:
    """Searching a column (Parquet, Arrow) drops the same rows as searching each text (JSON)."""
    rows = [file_row(i) for i in range(240)]
    for i in range(0, 240, 17):
        rows[i]["content"] = f"import pandas as pd  # é\r\n{rows[i]['content']}"
    for i in range(0, 240, 23):
        rows[i]["content"] = f"# pandas, in words alone\n{rows[i]['content']}"
    rows[7]["content"] = rows[34]["content"] = None
    rows[8]["content"] += "\0"
    rows[9]["content"] += "é" * 60_000  # more bytes than allowed, and without a keyword
    rows[10]["repo_name"] = None
    rows[11]["path"] = None
    opt_out = tmp_path / "opt-out.txt"
    opt_out.write_text("owner/r3\n")
    write_json(tmp_path / "rows.jsonl", rows)
    write_parquet(tmp_path / "rows.parquet", rows, group=40)
    write_arrow(tmp_path / "rows.arrow", rows, stream=True)
    for where, reason in (("text", "no_keyword"), ("imports", "not_imported")):
        built = {}
        for name in ("rows.jsonl", "rows.parquet", "rows.arrow"):
            source = {"kind": "codeparrot", "paths": [str(tmp_path / name)]}
            settings = {
                "keywords": ["pandas", "sklearn"],
                "keywords_in": where,
                "max_bytes": 100_000,
            }
            folder = tmp_path / where / name
            report = build(recipe(source, opt_out=opt_out, **settings), folder, SILENT)
            for problem in report["problems"]:
                assert problem.pop("file") == name
            built[name] = (read(folder, "files"), read(folder, "functions"), report)
        assert built["rows.parquet"] == built["rows.arrow"] == built["rows.jsonl"]
        kept, _, report = built["rows.parquet"]
        expected = {
            row["path"]
            for row in rows
            if f"{'import ' if where == 'imports' else ''}pandas" in (row["content"] or "")
            and row["repo_name"] != "owner/r3"
        }
        assert {row["path"] for row in kept} == expected
        dropped = {name: counts["files"] for name, counts in report["files_dropped"].items()}
        assert dropped.keys() == {reason, "no_content", "opted_out"}
        assert sum(dropped.values()) + len(kept) == len(rows)
