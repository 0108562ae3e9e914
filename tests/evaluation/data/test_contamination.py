"""Problems from the training data are found, others are not, and scores report both."""

from pathlib import Path
from typing import Any

from codeling.evaluation.data.contamination import (
    TrainingCorpus,
    contamination_summary,
    find_in_training,
)
from codeling.evaluation.results import score, table_row
from codeling.provenance.index import build
from codeling.run_folder import RunFolder

from ..conftest import Source


def test_training_text_is_found_with_its_location(python_files: list[str], tmp_path: Path) -> None:
    sources = [Source(text, f"{n}.py") for n, text in enumerate(python_files)]
    build(sources, tmp_path / "provenance")
    corpus = TrainingCorpus.load(RunFolder(tmp_path))
    assert corpus is not None
    lines = python_files[5].split("\n")
    middle = len(lines) // 2
    found = find_in_training(corpus, "\n".join(lines[middle : middle + 12]))
    assert found
    assert found[0]["path"] == "5.py"
    assert found[0]["start_line"] <= middle + 12
    own = "".join(f"zq_{n} = wv({n} + {n * 7}, 'own {n}')\n" for n in range(30))
    assert find_in_training(corpus, own) == []
    assert (
        find_in_training(corpus, own + "\n".join(lines[middle : middle + 12]), min_share=0.9) == []
    )
    records: list[dict[str, Any]] = [{"found": found}, {"found": []}]
    assert contamination_summary(corpus, records) == {"index_sha256": corpus.sha256, "num_found": 1}


def test_without_an_index_contamination_is_unknown(tmp_path: Path) -> None:
    assert TrainingCorpus.load(RunFolder(tmp_path)) is None
    assert find_in_training(None, "anything") is None
    assert contamination_summary(None, [{"found": None}]) == {
        "index_sha256": None,
        "num_found": None,
    }
    made = score("pass@1", [{"found": None, "v": 1.0}] * 2, lambda r: r["v"], 0)
    assert made is not None
    assert made["without_found"] is None
    assert table_row(made)[4] == ""


def test_scores_are_given_with_and_without_found_problems() -> None:
    records = [{"found": [{"path": "a"}], "v": 1.0}] * 3 + [{"found": [], "v": 0.0}] * 2
    made = score("pass@1", records, lambda r: r["v"], 0)
    assert made is not None
    assert made["value"] == 0.6
    assert made["without_found"]["value"] == 0.0
    assert made["without_found"]["num_problems"] == 2
    assert table_row(made)[1] == "60.0 %"
    all_found = score("pass@1", records[:3], lambda r: r["v"], 0)
    assert all_found is not None
    assert all_found["without_found"] is None
