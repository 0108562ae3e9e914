from typing import Any

from codeling.corpus.build.report import problem_lines, split_lines, table
from codeling.recipe import CorpusRecipe

COUNTS = {"files": 75, "bytes": 3_000_000, "functions": 0, "function_bytes": 0}


def problem(file: str, row: int | None, reason: str, detail: str = "") -> dict[str, Any]:
    return {"file": file, "row": row, "reason": reason, "detail": detail}


def test_bad_input_is_described_by_file() -> None:
    problems = [
        problem("a.json.gz", 11, "truncated", "end-of-stream marker is missing"),
        problem("b.parquet", None, "missing_column", "no column content"),
        problem("c.jsonl", 2, "missing_column", "no column path"),
        problem("d.jsonl", None, "empty_shard", "no rows"),
    ]
    assert problem_lines(problems) == [
        "a.json.gz: truncated at row 11, the rest is lost (end-of-stream marker is missing)",
        "b.parquet: no column content",
        "c.jsonl: 1 bad row, listed in corpus/report.json (row 2: no column path)",
        "d.jsonl: no rows",
    ]


def test_the_rule_of_the_split_is_shown_with_a_warning_for_small_splits() -> None:
    report = {
        "split_by": "file",
        "split_rule": "files in order; by file because 1 project cannot fill three splits",
        "splits": {
            "validation": {"bytes": 100_000, "function_bytes": 5, "shared_with_train": 0.0126},
            "test": {"bytes": 0, "function_bytes": 3_211, "shared_with_train": 0.0},
        },
    }
    rule, shared, warning = split_lines(report, CorpusRecipe())
    assert rule == f"split by file: {report['split_rule']}"
    assert warning == (
        "warning: the test split has only 3,211 bytes, so its scores depend on a few files; add "
        "sources or raise corpus.test_share"
    )
    expected = "tokens in passages that train has as well: 1.3% of validation and 0.0% of test"
    assert shared == expected
    assert split_lines(report, CorpusRecipe(test_share=0.0)) == [rule, shared]
    assert split_lines({**report, "split_by": "published"}, CorpusRecipe(test_share=0.0)) == [
        "split as published",
        shared,
    ]


def test_the_table_says_kept_and_each_reason_largest_first() -> None:
    report = {
        "totals": COUNTS,
        "files_dropped": {
            "duplicate": {"files": 5, "bytes": 2_000_000_000},
            "too_small": {"files": 20, "bytes": 100_000},
        },
        "functions_dropped": {},
        "problems": [
            problem("a.jsonl", 3, "bad_row", "not UTF-8"),
            problem("a.jsonl", 4, "bad_row"),
        ],
    }
    assert table(report) == [
        "  kept                75 files      75.0%    3.0 MB",
        "  too_small           20 files      20.0%    0.1 MB",
        "  duplicate            5 files       5.0%    2.0 GB",
        "  a.jsonl: 2 bad rows, listed in corpus/report.json (row 3: not UTF-8)",
    ]


def test_the_rows_of_functions_follow_those_of_files() -> None:
    report = {
        "totals": {**COUNTS, "functions": 3, "function_bytes": 500_000},
        "files_dropped": {},
        "functions_dropped": {"dunder": {"functions": 1, "bytes": 100}},
        "problems": [],
    }
    lines = table(report)
    assert [line.split()[0] for line in lines] == ["kept", "kept", "dunder"]
    assert lines[1].split() == ["kept", "3", "functions", "75.0%", "0.5", "MB"]
