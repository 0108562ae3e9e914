"""Where suites look for their data."""

from pathlib import Path

import pytest

from codeling.errors import InputError
from codeling.evaluation.data.lookup import (
    DataSources,
    PublishedFiles,
    find_problem_files,
    find_splits,
    find_texts,
)

MBPP = PublishedFiles(("mbpp*",), ("mbppplus*",), "mbpp.jsonl")


def names(sources: DataSources) -> list[str]:
    return [file.name for file in find_problem_files("mbpp", MBPP, sources).files]


def test_a_file_of_another_name_is_taken_only_where_no_other_suite_could_mean_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "own.jsonl").write_text("{}\n")
    shared = [str(tmp_path / "own.jsonl")]
    assert names(DataSources(shared=shared, accept_any_name=True)) == ["own.jsonl"]
    assert names(DataSources({"mbpp": shared[0]})) == ["own.jsonl"]
    with pytest.raises(InputError, match=r"mbpp: no data; give --data mbpp=FILE with mbpp.jsonl"):
        names(DataSources(shared=shared))


def test_the_test_split_of_a_hub_dataset_is_used(tmp_path: Path) -> None:
    for name in ("prompt-00000.parquet", "test-00000-of-00001.parquet", "train-0.parquet"):
        (tmp_path / name).write_bytes(b"")
    assert names(DataSources({"mbpp": str(tmp_path)})) == ["test-00000-of-00001.parquet"]


def test_published_names_go_first(tmp_path: Path) -> None:
    for name in ("MbppPlus.jsonl", "mbpp.jsonl", "other.jsonl"):
        (tmp_path / name).write_text("{}\n")
    assert names(DataSources(shared=[str(tmp_path)], accept_any_name=True)) == ["mbpp.jsonl"]


def test_data_of_one_suite_is_not_used_for_another(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}\n")
    with pytest.raises(InputError, match=r"mbpp: no data; give --data mbpp=FILE"):
        names(DataSources({"humaneval": str(tmp_path)}))


def test_without_a_run_texts_have_to_be_given() -> None:
    with pytest.raises(InputError, match="bits-per-byte: this model has no run folder"):
        find_texts("bits-per-byte", "documents", DataSources())
    with pytest.raises(InputError, match="memorization: this model has no run folder"):
        find_splits("memorization", "functions", DataSources(), with_training=True)


def test_another_column_is_other_data(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": "x = 1", "b": "y = 2"}\n')
    found = [
        find_texts(
            "bits-per-byte", "documents", DataSources({"bits-per-byte": str(tmp_path)}, column=c)
        )
        for c in ("a", "b", "a")
    ]
    digests = [data.digest["sha256"] for data in found]
    assert digests[0] == digests[2] != digests[1]
    assert found[1].texts is not None
    assert [text.text for text in found[1].texts()] == ["y = 2"]


def test_functions_are_cut_out_of_any_texts(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "x = 1\n\n\ndef f():\n    return 1\n\n\ndef g():\n    return 2\n"
    )
    sources = DataSources(shared=[str(tmp_path)], accept_any_name=True)
    data = find_texts("completion", "functions", sources)
    assert data.texts is not None
    assert [(t.text, t.start_line) for t in data.texts()] == [
        ("def f():\n    return 1", 4),
        ("def g():\n    return 2", 8),
    ]
