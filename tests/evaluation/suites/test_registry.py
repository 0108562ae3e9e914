"""The suites by name, how they sample, and where each finds its data."""

from pathlib import Path

import pytest

from codeling.errors import InputError, UsageError
from codeling.evaluation.data.lookup import find_data
from codeling.evaluation.harness import Settings
from codeling.evaluation.suites.registry import SUITES, published_sampling, suite

PUBLISHED = {
    "HumanEval.jsonl.gz": "humaneval",
    "HumanEvalPlus.jsonl.gz": "humaneval-plus",
    "HumanEvalPlus-v0.1.10.jsonl": "humaneval-plus",
    "mbpp_release_v1.jsonl": "mbpp",
    "mbpp.jsonl": "mbpp",
    "sanitized-mbpp.json": "mbpp",
    "MbppPlus.jsonl.gz": "mbpp-plus",
    "PandasEval.jsonl.gz": "pandas-eval",
    "NumpyEval.jsonl.gz": "numpy-eval",
    "HumanEval-SingleLineInfilling.jsonl.gz": "infilling",
    "HumanEval-RandomSpanInfillingLight.jsonl.gz": "infilling",
}


def test_each_published_file_is_found_by_its_suite_alone(tmp_path: Path) -> None:
    for number, name in enumerate(PUBLISHED):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / name).write_text("{}\n")
    for each in SUITES.values():
        if each.kind == "problems":
            found = [
                name
                for number, name in enumerate(PUBLISHED)
                if _found(each.name, tmp_path / str(number))
            ]
            assert found == [name for name, of in PUBLISHED.items() if of == each.name]


def _found(name: str, folder: Path) -> bool:
    try:
        return bool(find_data(suite(name), {}, [str(folder)], run=None).files)
    except InputError:
        return False


def test_a_suite_alone_takes_any_file_and_of_the_hubs_splits_the_test(tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text("{}\n")
    one = find_data(suite("humaneval"), {}, [str(tmp_path / "own.jsonl")], run=None, alone=True)
    assert [file.name for file in one.files] == ["own.jsonl"]
    hub = tmp_path / "data"
    hub.mkdir()
    for name in ("prompt-00000.parquet", "test-00000-of-00001.parquet", "train-0.parquet"):
        (hub / name).write_bytes(b"")
    data = find_data(suite("mbpp"), {"mbpp": str(hub)}, [], run=None)
    assert [file.name for file in data.files] == ["test-00000-of-00001.parquet"]


def test_data_for_one_suite_is_not_anothers(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}\n")
    with pytest.raises(InputError, match=r"mbpp: no data; give --data mbpp=FILE"):
        find_data(suite("mbpp"), {"humaneval": str(tmp_path)}, [], run=None)


def test_texts_without_a_run_have_to_be_given() -> None:
    with pytest.raises(InputError, match="bits-per-byte: this model has no run folder"):
        find_data(suite("bits-per-byte"), {}, [], run=None)


def test_another_column_is_other_data(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": "x = 1", "b": "y = 2"}\n')
    found = [
        find_data(suite("bits-per-byte"), {}, [str(tmp_path)], run=None, column=c, alone=True)
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
    data = find_data(suite("completion"), {}, [str(tmp_path)], run=None, alone=True)
    assert data.texts is not None
    assert [(t.text, t.start_line) for t in data.texts()] == [
        ("def f():\n    return 1", 4),
        ("def g():\n    return 2", 8),
    ]


def test_a_name_that_is_none_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no suite 'humanevl'; did you mean humaneval\?"):
        suite("humanevl")


def test_sampling_is_greedy_for_one_and_the_published_one_for_more() -> None:
    assert published_sampling(1) == (0.0, None)
    assert published_sampling(20) == (0.2, 0.95)
    assert published_sampling(200) == (0.8, 0.95)
    assert Settings(n=200, temperature=0.5).sampling(suite("mbpp")).top_p is None
    assert Settings(n=200).sampling(suite("mbpp")).top_p == 0.95
    for bad in (Settings(n=0), Settings(limit=0), Settings(batch_size=0)):
        with pytest.raises(UsageError, match="1 or more"):
            bad.sampling(suite("mbpp"))
