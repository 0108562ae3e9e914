"""Near-duplicates, forks, problems and secrets, through the whole of the corpus."""

import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from codeling.corpus.build.pipeline import build
from codeling.corpus.sources import partitions
from codeling.errors import CorpusError, RecipeError
from codeling.progress import SILENT
from codeling.recipe import CorpusRecipe, parse_recipe

WORDS = [f"word{i}" for i in range(400)]
PROBLEM = {
    "task_id": "Set/1",
    "prompt": "def gather(rows, limit):\n"
    "    '''Keep what is small and stop at the first large.'''\n",
    "canonical_solution": "    kept, total = [], 0\n    for row in rows:\n        total += row\n"
    "        if total > limit:\n            break\n        kept.append(total)\n    return kept\n",
}


def program(draw: random.Random, functions: int = 8) -> str:
    def function() -> str:
        a, b, c, *rest = draw.sample(WORDS, 12)
        body = "".join(f"    {one} = {a}({other}, {c})\n" for one, other in pairwise(rest))
        return f"def {a}({b}, {c}):\n{body}    return {rest[-1]}\n"

    return "\n\n".join(function() for _ in range(functions))


def edited(text: str) -> str:
    lines = text.splitlines(keepends=True)
    lines[len(lines) // 2] = "    changed = 1\n"
    return "".join(lines)


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def recipe(*folders: Path, **settings: object) -> CorpusRecipe:
    sources = [{"kind": "folder", "path": str(folder)} for folder in folders]
    return CorpusRecipe.model_validate({"sources": sources, **settings})


def rows(folder: Path, table: str = "files") -> list[dict[str, Any]]:
    return [
        {**row, "split": path.parent.name}
        for path in sorted(folder.glob(f"*/{table}-*.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]


def test_the_best_ranked_of_near_duplicates_is_kept(tmp_path: Path) -> None:
    draw = random.Random(0)
    text = program(draw)
    one = write(tmp_path / "one", {"a.py": text, **{f"{i}.py": program(draw) for i in range(9)}})
    two = write(tmp_path / "two", {"b.py": edited(text), "c.py": program(draw)})
    report = build(recipe(two, one), tmp_path / "out", SILENT)
    assert report["files_dropped"]["near_duplicate"]["files"] == 1
    paths = {row["path"] for row in rows(tmp_path / "out")}
    assert paths == {"a.py", "c.py", *(f"{i}.py" for i in range(9))}
    report = build(recipe(one, two, near_duplicates={"enabled": False}), tmp_path / "off", SILENT)
    assert "near_duplicate" not in report["files_dropped"]
    report = build(recipe(one, two, near_duplicates={"threshold": 0.99}), tmp_path / "no", SILENT)
    assert "near_duplicate" not in report["files_dropped"]


def test_how_the_input_is_cut_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(1)
    texts = [program(draw) for _ in range(12)]
    texts += [edited(text) for text in texts[:6]]
    folder = write(tmp_path / "code", {f"{i:02}.py": text for i, text in enumerate(texts)})
    write(tmp_path, {"set.jsonl": json.dumps(PROBLEM)})
    settings = {"decontamination": {"problems": [str(tmp_path / "set.jsonl")]}}
    reports = []
    for size in (1, 5, 100):
        monkeypatch.setattr(partitions, "RUN_FILES", size)
        reports.append(build(recipe(folder, **settings), tmp_path / str(size), SILENT))
    assert reports[0] == reports[1] == reports[2]
    assert rows(tmp_path / "1") == rows(tmp_path / "5") == rows(tmp_path / "100")
    assert reports[0]["files_dropped"]["near_duplicate"]["files"] == 6


def test_a_fork_is_in_the_split_of_its_origin(tmp_path: Path) -> None:
    draw = random.Random(2)
    folders = []
    for number in range(12):
        files = {f"{i}.py": program(draw) for i in range(6)}
        own = {"own.py": program(draw)}
        folders.append(write(tmp_path / f"origin{number}", {**files, **own}))
        fork = {name: text if name < "3" else edited(text) for name, text in files.items()}
        fork["own.py"] = program(draw)
        folders.append(write(tmp_path / f"a_fork{number}", fork))
    settings = {"validation_share": 0.2, "test_share": 0.2}
    report = build(recipe(*folders, **settings), tmp_path / "out", SILENT)
    assert report["split_by"] == "repository"
    assert report["files_dropped"]["duplicate"]["files"] == 12 * 3
    assert report["files_dropped"]["near_duplicate"]["files"] == 12 * 3
    sides = {row["repo_name"]: row["split"] for row in rows(tmp_path / "out")}
    assert set(sides.values()) == {"train", "validation", "test"}
    for number in range(12):
        assert sides[f"origin{number}"] == sides[f"a_fork{number}"]
    alone = build(recipe(*folders, **settings, near_duplicates={"enabled": False}),
                  tmp_path / "alone", SILENT)  # fmt: skip
    assert "near_duplicate" not in alone["files_dropped"]


def test_held_out_files_with_passages_of_train_are_dropped_and_counted(tmp_path: Path) -> None:
    draw = random.Random(5)
    folders = [
        write(tmp_path / f"project{i}", {f"{j}.py": program(draw) for j in range(5)})
        for i in range(12)
    ]
    settings = {"validation_share": 0.2, "test_share": 0.2}
    before = build(recipe(*folders, **settings), tmp_path / "before", SILENT)
    assert [before["splits"][name]["shared_with_train"] for name in ("validation", "test")] == [
        0,
        0,
    ]
    sides = {row["repo_name"]: row["split"] for row in rows(tmp_path / "before")}
    one = {side: tmp_path / name for name, side in sides.items()}
    copied = (one["train"] / "0.py").read_text().splitlines(keepends=True)
    for side in ("validation", "test"):
        own = (one[side] / "0.py").read_text()
        (one[side] / "0.py").write_text(own + "".join(copied[10:40]))
        (one[side] / "1.py").write_text((one[side] / "1.py").read_text() + "".join(copied[10:14]))
    report = build(recipe(*folders, **settings), tmp_path / "out", SILENT)
    assert report["files_dropped"]["shared_with_train"]["files"] == 2
    expected = {
        (row["repo_name"], row["path"])
        for row in rows(tmp_path / "before")
        if (row["path"], row["split"]) not in {("0.py", "validation"), ("0.py", "test")}
        or tmp_path / row["repo_name"] != one[row["split"]]
    }
    assert {(row["repo_name"], row["path"]) for row in rows(tmp_path / "out")} == expected
    assert all(report["splits"][name]["shared_with_train"] == 0 for name in ("validation", "test"))

    kept = build(recipe(*folders, **settings, max_shared_with_train=1.0), tmp_path / "all", SILENT)
    assert "shared_with_train" not in kept["files_dropped"]
    assert all(kept["splits"][name]["shared_with_train"] > 0.02 for name in ("validation", "test"))


def test_a_split_keeps_the_file_that_shares_least(tmp_path: Path) -> None:
    text = program(random.Random(6))
    files = {f"{i}.py": text + program(random.Random(i), functions=4 + i) for i in range(20)}
    folder = write(tmp_path / "code", files)
    settings = {"validation_share": 0.1, "test_share": 0.1, "near_duplicates": {"enabled": False}}
    report = build(recipe(folder, **settings), tmp_path / "out", SILENT)
    for name in ("validation", "test"):
        assert report["splits"][name]["files"] == 1
        assert 0.2 < report["splits"][name]["shared_with_train"] < 0.7
    assert report["files_dropped"]["shared_with_train"]["files"] == 2


def test_documents_with_a_problem_are_dropped_and_listed(tmp_path: Path) -> None:
    draw = random.Random(3)
    solution = "def mine(xs, most):\n" + PROBLEM["canonical_solution"].replace(
        "rows", "xs"
    ).replace("limit", "most")
    folder = write(
        tmp_path / "code",
        {
            "bad.py": "import os\n\n\n" + solution,
            "prose.py": "# keep what is small, and: STOP at the first large\nx = 'one more line'\n",
            **{f"{i}.py": program(draw) for i in range(6)},
        },
    )
    problems = [tmp_path / "set.jsonl"]
    problems[0].write_text(json.dumps(PROBLEM) + "\n", encoding="utf-8")
    settings = {"decontamination": {"problems": [str(path) for path in problems]}}
    report = build(recipe(folder, **settings), tmp_path / "out", SILENT)
    assert report["files_dropped"]["contaminated"]["files"] == 2
    assert report["contamination"] == [
        {"problem": "Set/1", "found_by": "code", "repository": "code", "path": "bad.py",
         "start_line": 4, "end_line": 11},
        {"problem": "Set/1", "found_by": "prose", "repository": "code", "path": "prose.py",
         "start_line": 1, "end_line": 1},
    ]  # fmt: skip
    assert not {"bad.py", "prose.py"} & {row["path"] for row in rows(tmp_path / "out")}
    problems[0].write_text("{}", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"set\.jsonl, line 1: no task_id"):
        build(recipe(folder, **settings), tmp_path / "out", SILENT)


def test_secrets_are_in_no_table_and_not_in_the_report(tmp_path: Path) -> None:
    draw = random.Random(4)
    key, address = "ghp_" + "a1B2c3D4e5F6" * 3, "jane.doe@corp.io"
    secret = (
        f'def connect(host):\n    """Ask {address}."""\n    token = "{key}"\n'
        "    return host.open(token)\n"
    )
    files = {f"{i}.py": program(draw) for i in range(6)}
    folder = write(tmp_path / "code", {"s.py": secret, **files})
    row = {
        "repo": "a/b", "path": "s.py", "func_name": "connect", "original_string": secret,
        "language": "python", "code": secret, "code_tokens": ["def", f'"{key}"'],
        "docstring": f"Ask {address}.", "docstring_tokens": ["Ask", address], "url": "",
        "partition": "train",
    }  # fmt: skip
    shard = tmp_path / "rows.jsonl"
    shard.write_text(json.dumps(row) + "\n", encoding="utf-8")
    sources = [
        {"kind": "folder", "path": str(folder)},
        {"kind": "codesearchnet", "paths": [str(shard)]},
    ]
    made = CorpusRecipe.model_validate({"sources": sources, "near_duplicates": {"enabled": False}})
    report = build(made, tmp_path / "out", SILENT)
    tables = rows(tmp_path / "out") + rows(tmp_path / "out", "functions")
    for text in (json.dumps(report), json.dumps(tables)):
        assert key not in text
        assert address not in text
        assert "corp" not in text
    connects = [row for row in tables if row.get("func_name") == "connect"]
    assert connects
    assert all("example.com" in row["func_documentation_string"] for row in connects)
    assert report["redacted"] == {
        "email": {"number": 2, "documents": 2},
        "key": {"number": 2, "documents": 2},
    }
    off = CorpusRecipe.model_validate({"sources": sources, "redaction": {"kinds": []}})
    assert build(off, tmp_path / "off", SILENT)["redacted"] == {}
    assert key in json.dumps(rows(tmp_path / "off"))


def test_the_settings_are_tables_of_their_own() -> None:
    made = parse_recipe(
        '[corpus.redaction]\nkinds = ["email"]\n',
        ["corpus.near_duplicates.threshold=0.8", 'corpus.decontamination.problems=["a.jsonl"]'],
    ).corpus
    assert made.redaction.kinds == ("email",)
    assert made.near_duplicates.threshold == 0.8
    assert made.decontamination.problems == (Path("a.jsonl"),)
    with pytest.raises(RecipeError, match=r'\[corpus.redaction\] unknown key.*mean "kinds"'):
        parse_recipe("[corpus.redaction]\nkind = []\n")
    with pytest.raises(RecipeError, match=r"corpus.seed is not a table"):
        parse_recipe("[corpus]\nseed = 1\n", ["corpus.seed.x=1"])
    with pytest.raises(RecipeError, match="threshold"):
        parse_recipe("[corpus.near_duplicates]\nthreshold = 1.5\n")
