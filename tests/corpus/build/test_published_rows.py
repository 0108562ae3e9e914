"""The rows of a split: which documents are in it, how many, and their ids. By hand."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from codeling.corpus import document
from codeling.corpus.build import child
from codeling.corpus.build.executor import Executor
from codeling.corpus.build.pipeline import build
from codeling.errors import CorpusError, RecipeError
from codeling.progress import SILENT
from codeling.recipe import CorpusRecipe, parse_recipe

CODE = "def f{i}(rows):\n    total_{i} = sum(rows)\n    return total_{i}\n"


def write(path: Path, numbers: Sequence[int], **columns: Any) -> str:
    rows = [
        {"repo_name": f"o/r{i % 5}", "path": f"{i}.py", "content": CODE.replace("{i}", str(i)),
         **columns}
        for i in numbers
    ]  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def recipe(*sources: dict[str, Any], **settings: Any) -> CorpusRecipe:
    return CorpusRecipe.model_validate({"sources": sources, **settings})


def paths(out: Path) -> dict[str, set[int]]:
    return {
        split: {
            int(each.path.removesuffix(".py")) for each in document.iterate(out, split, "files")
        }
        for split in document.SPLITS
    }


def numbers(first: int, last: int) -> set[int]:
    return set(range(first, last))


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_ids_number_the_functions_of_each_split(tmp_path: Path) -> None:
    write(tmp_path / "rows/a.jsonl", range(40))
    write(tmp_path / "rows/b.jsonl", range(40, 90))
    source = {"kind": "codeparrot", "paths": str(tmp_path / "rows")}
    build(recipe(source, validation_share=0.2, test_share=0.2), tmp_path / "out", SILENT)
    total = 0
    for split in document.SPLITS:
        rows = pq.read_table(tmp_path / "out" / split / "functions-00000.parquet").to_pylist()
        assert [row["id"] for row in rows] == list(range(len(rows)))
        assert list(rows[0])[:2] == ["id", "repository_name"]
        total += len(rows)
    assert total == 90


def test_a_split_of_a_source_is_that_of_all_its_documents(tmp_path: Path) -> None:
    train = write(tmp_path / "a.jsonl", range(30))
    held_out = write(tmp_path / "b.jsonl", range(30, 40))
    (tmp_path / "code").mkdir()
    for i in (40, 41):
        (tmp_path / "code" / f"{i}.py").write_text(CODE.replace("{i}", str(i)))
    report = build(
        recipe(
            {"kind": "codeparrot", "paths": train, "split": "train"},
            {"kind": "codeparrot", "paths": held_out, "split": "validation"},
            {"kind": "folder", "path": str(tmp_path / "code"), "split": "test"},
        ),
        tmp_path / "out",
        SILENT,
    )
    assert paths(tmp_path / "out") == {
        "train": numbers(0, 30), "validation": numbers(30, 40), "test": numbers(40, 42)
    }  # fmt: skip
    assert (report["split_by"], report["split_rule"]) == ("published", "as published")


def test_a_published_validation_set_is_the_validation_set(tmp_path: Path) -> None:
    """The other documents give none to it, and their share to test."""
    mine = write(tmp_path / "a.jsonl", range(50))
    published = write(tmp_path / "b.jsonl", range(50, 60))
    report = build(
        recipe(
            {"kind": "codeparrot", "paths": mine},
            {"kind": "codeparrot", "paths": published, "split": "validation"},
            validation_share=0.3,
            test_share=0.3,
        ),
        tmp_path / "out",
        SILENT,
    )
    found = paths(tmp_path / "out")
    assert found["validation"] == numbers(50, 60)
    assert found["train"] | found["test"] == numbers(0, 50)
    assert len(found["test"]) == 10  # one of five repositories
    assert report["split_rule"].startswith("documents with a published split as published; others:")


@pytest.mark.parametrize("kind", ["codeparrot", "rows"])
def test_a_column_or_the_name_of_a_file_gives_the_published_split(
    kind: str, tmp_path: Path
) -> None:
    top = tmp_path / "data"
    write(top / "train-00000-of-00001.jsonl", range(10))
    write(top / "valid/part.jsonl", range(10, 14))
    write(top / "more.jsonl", range(14, 16), split="test")
    write(top / "train/again.jsonl", range(16, 18), split="dev")  # the column before the name
    write(top / "train/null.jsonl", range(18, 20), split=None)
    source = {"kind": kind, "paths": str(top), "split": "published"}
    build(recipe(source), tmp_path / "out", SILENT)
    assert paths(tmp_path / "out") == {
        "train": numbers(0, 10) | numbers(18, 20),
        "validation": numbers(10, 14) | numbers(16, 18),
        "test": numbers(14, 16),
    }


def test_a_table_without_a_published_split_is_one_clear_line(tmp_path: Path) -> None:
    path = write(tmp_path / "data/rows.jsonl", range(3))
    source = {"kind": "codeparrot", "paths": path, "split": "published"}
    message = "no column split, and no split in the file's name"
    with pytest.raises(CorpusError, match=message):
        build(recipe(source), tmp_path / "out", SILENT)
    write(tmp_path / "data/rows.jsonl", range(3), split="holdout")
    message = "row 0: split: 'holdout' is not train, validation or test"
    with pytest.raises(CorpusError, match=message):
        build(recipe(source), tmp_path / "out", SILENT)
    write(tmp_path / "data/mine.jsonl", range(3), part="train")
    mine = {
        "kind": "rows",
        "paths": str(tmp_path / "data/mine.jsonl"),
        "columns": {"split": "part"},
    }
    build(recipe({**mine, "split": "published"}), tmp_path / "out", SILENT)
    assert paths(tmp_path / "out")["train"] == numbers(0, 3)


def takes(tmp_path: Path, **settings: Any) -> CorpusRecipe:
    train = write(tmp_path / "a.jsonl", [*range(60), 3, 4])
    valid = write(tmp_path / "b.jsonl", range(60, 90))
    return recipe(
        {"kind": "codeparrot", "paths": train, "split": "train"},
        {"kind": "codeparrot", "paths": valid, "split": "validation"},
        **{"take": {"train": 25, "validation": 7}, **settings},
    )


def test_exactly_the_numbers_to_take_are_taken(tmp_path: Path) -> None:
    report = build(takes(tmp_path), tmp_path / "out", SILENT)
    found = paths(tmp_path / "out")
    assert {split: len(of_one) for split, of_one in found.items()} == {
        "train": 25, "validation": 7, "test": 0
    }  # fmt: skip
    assert found["train"] < numbers(0, 60)
    assert found["train"] != numbers(0, 25)  # shuffled
    dropped = {reason: counts["files"] for reason, counts in report["files_dropped"].items()}
    assert dropped == {"duplicate": 2, "not_taken": 35 + 23}
    ids = Counter(
        row["split_name"]
        for path in (tmp_path / "out").glob("*/functions-*.parquet")
        for row in pq.read_table(path).to_pylist()
    )
    assert ids == {"train": 25, "valid": 7}


def test_a_larger_number_takes_the_same_and_more_and_the_seed_decides(tmp_path: Path) -> None:
    taken = {}
    for number, seed in ((10, 0), (40, 0), (10, 1)):
        out = tmp_path / f"{number}-{seed}"
        build(takes(tmp_path, take={"train": number}, seed=seed), out, SILENT)
        taken[number, seed] = paths(out)["train"]
        assert paths(out)["validation"] == numbers(60, 90)  # without a number, all
    assert taken[10, 0] < taken[40, 0]
    assert taken[10, 0] != taken[10, 1]


def test_more_than_there_is_takes_all_and_says_so(tmp_path: Path) -> None:
    notes: list[str] = []
    progress = type(
        "Notes", (), {"task": SILENT.task, "note": lambda self, line: notes.append(line)}
    )
    build(takes(tmp_path, take={"train": 1_000}), tmp_path / "out", progress())
    assert len(paths(tmp_path / "out")["train"]) == 60
    assert "warning: take.train = 1,000, but only 60 documents are left for train" in notes
    assert "no document is published as test: scores are those of validation" in notes


def test_partitions_change_neither_ids_nor_the_documents_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = takes(tmp_path, keywords=["total_1", "total_2"])
    build(settings, tmp_path / "whole", SILENT)

    def map_here(
        self: Executor, name: str, tasks: Sequence[str], settings: str = "", *rest: Any
    ) -> Any:
        return (child.run_task(name, task, settings, str(tmp_path)) for task in tasks)

    monkeypatch.setattr(Executor, "map", map_here)
    for piece_bytes in (1, 500, 3_000):
        monkeypatch.setattr("codeling.corpus.sources.pieces.PIECE_BYTES", piece_bytes)
        build(settings, tmp_path / str(piece_bytes), SILENT)
        assert contents(tmp_path / str(piece_bytes)) == contents(tmp_path / "whole")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[corpus.take]\ntrain = 0", "[corpus.take] train: input should be greater than 0 (got 0)"),
        ("[corpus.take]\ntrian = 5", '[corpus.take] unknown key "trian"; did you mean "train"?'),
        (
            '[corpus]\nsources = [{kind = "installed", split = "published"}]',
            "split: input should be",
        ),
    ],
)
def test_a_wrong_number_or_split_is_one_line(text: str, words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text)
    assert words in str(caught.value)
