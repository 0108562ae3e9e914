from codeling.corpus.build.report import table

COUNTS = {"files": 75, "bytes": 3_000_000, "functions": 0, "function_bytes": 0}


def test_the_table_says_kept_and_each_reason_largest_first() -> None:
    report = {
        "totals": COUNTS,
        "files_dropped": {
            "duplicate": {"files": 5, "bytes": 2_000_000_000},
            "too_small": {"files": 20, "bytes": 100_000},
        },
        "functions_dropped": {},
        "problems": [{"file": "a.jsonl", "row": 3}, {"file": "a.jsonl", "row": 4}],
    }
    assert table(report) == [
        "  kept                75 files      75.0%    3.0 MB",
        "  too_small           20 files      20.0%    0.1 MB",
        "  duplicate            5 files       5.0%    2.0 GB",
        "  a.jsonl: 2 bad rows, listed in corpus/report.json",
    ]


def test_functions_stand_below_files() -> None:
    report = {
        "totals": {**COUNTS, "functions": 3, "function_bytes": 500_000},
        "files_dropped": {},
        "functions_dropped": {"dunder": {"functions": 1, "bytes": 100}},
        "problems": [],
    }
    lines = table(report)
    assert [line.split()[0] for line in lines] == ["kept", "kept", "dunder"]
    assert lines[1].split() == ["kept", "3", "functions", "75.0%", "0.5", "MB"]
