"""The suites by name, and where each finds its data."""

from pathlib import Path

import pytest

from codeling.errors import InputError, UsageError
from codeling.evaluation.data.lookup import DataSources
from codeling.evaluation.suites.published_suites import PROBLEM_SUITES
from codeling.evaluation.suites.registry import SUITES, find_suite

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


def test_every_suite_is_listed_under_its_own_name() -> None:
    assert all(name == suite.name for name, suite in SUITES.items())
    assert {suite.name for suite in PROBLEM_SUITES} == set(PUBLISHED.values())
    assert len({suite.summary for suite in SUITES.values()}) == len(SUITES)


def test_each_published_file_is_found_by_its_suite_alone(tmp_path: Path) -> None:
    for number, name in enumerate(PUBLISHED):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / name).write_text("{}\n")
    for suite in PROBLEM_SUITES:
        found = [
            name
            for number, name in enumerate(PUBLISHED)
            if _has_data(suite.name, tmp_path / str(number))
        ]
        assert found == [name for name, of in PUBLISHED.items() if of == suite.name]


def _has_data(name: str, folder: Path) -> bool:
    try:
        return bool(find_suite(name).find_data(DataSources(shared=[str(folder)])).files)
    except InputError:
        return False


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no suite 'humanevl'; did you mean humaneval\?"):
        find_suite("humanevl")
