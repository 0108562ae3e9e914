import json
from pathlib import Path
from typing import Any

import pytest

from codeling.export.scores import measured_scores

SHA = "ab" * 32


def write(path: Path, values: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    bits = {"value": 1.25, "interval_95": [1.2, 1.3], "num_bytes": 1000, "num_repositories": 3}
    rows = [
        {
            "name": "model", "sources": [],
            "has_model": True, "bits_per_byte": 1.2, "interval_95": None,
        },
        {
            "name": "model + document + corpus", "sources": ["document", "corpus"],
            "has_model": True, "bits_per_byte": 0.9, "interval_95": [0.8, 1.0],
        },
    ]  # fmt: skip
    own = {
        "model_sha256": SHA,
        "bits_per_byte": bits,
        "parse_rate": {"value": 0.5, "interval_95": [0.4, 0.6], "num_completions": 200},
        "memory": {"num_bytes": 500, "rows": rows},
    }
    write(tmp_path / "evaluation.json", own)
    suite = {
        "suite": "humaneval", "model": {"weights_sha256": SHA}, "data": {"name": "HumanEval"},
        "num_problems": 164, "settings": {"seed": 0},
        "scores": [{"name": "pass@1", "value": 0.01, "interval_95": [0.0, 0.02]}],
    }  # fmt: skip
    write(tmp_path / "evaluation" / "humaneval-1" / "evaluation.json", suite)
    suite["settings"] = {"seed": 0, "memory": {"order": 5}}
    write(tmp_path / "evaluation" / "humaneval-2" / "evaluation.json", suite)
    suite |= {"suite": "typing", "scores": [{"name": "saved", "value": 0.4, "interval_95": None}]}
    write(tmp_path / "evaluation" / "typing-1" / "evaluation.json", suite)
    return tmp_path


def test_every_score_has_its_interval(run: Path) -> None:
    scores = measured_scores(run, SHA)
    found = {score.name: score for score in scores if score.suite != "humaneval, memory"}
    assert found["bits per byte"].as_text() == ("1.250", "1.200 to 1.300")
    memory = found["bits per byte with the memory (model + document + corpus)"]
    assert memory.as_text() == ("0.900", "0.800 to 1.000")
    assert found["function bodies that parse and hold code"].as_text()[0] == "50.0 %"
    assert found["pass@1"].data == "HumanEval, 164 problems"
    assert len(found) == 5
    assert [score.suite for score in scores[4:]] == ["humaneval, memory", "typing"]
    assert [score.of_weights for score in scores] == [True, False, True, True, False, False]


def test_results_of_other_settings_are_told_apart(run: Path) -> None:
    path = run / "evaluation" / "humaneval-1" / "evaluation.json"
    settings = {"temperature": 0.8, "top_p": 0.95, "top_k": None, "n": 10, "precision": "int8"}
    write(path, json.loads(path.read_text()) | {"settings": settings})
    found = {score.suite: score.data for score in measured_scores(run, SHA)}
    assert found["humaneval"] == (
        "HumanEval, 164 problems, temperature 0.8, top-p 0.95, 10 samples each, int8"
    )


def test_scores_of_other_weights_do_not_count(run: Path) -> None:
    assert measured_scores(run, "cd" * 32) == []


def test_a_damaged_file_has_no_scores(run: Path) -> None:
    (run / "evaluation.json").write_text("{")
    assert [score.name for score in measured_scores(run, SHA)] == ["pass@1", "pass@1", "saved"]


@pytest.mark.parametrize(
    "change",
    [
        {"bits_per_byte": None}, {"bits_per_byte": {}}, {"parse_rate": "a"}, {"memory": [1]},
        {"memory": {"rows": 5}}, {"bits_per_byte": {"value": 10**400}},
        {"bits_per_byte": {"value": float("nan")}}, {"bits_per_byte": {"interval_95": [1]}},
    ],
)  # fmt: skip
def test_a_result_with_other_values_has_no_scores(run: Path, change: dict[str, Any]) -> None:
    values = json.loads((run / "evaluation.json").read_text())
    for key, value in change.items():
        values[key] = {**values[key], **value} if isinstance(value, dict) and value else value
    write(run / "evaluation.json", values)
    assert len(measured_scores(run, SHA)) == 3


@pytest.mark.parametrize(
    "change",
    [{"model": None}, {"data": 3}, {"num_problems": "x"}, {"scores": 1}, {"suite": 5},
     {"settings": 5}, {"scores": [{"name": "a", "value": "x", "interval_95": None}]}],
)  # fmt: skip
def test_a_suite_with_other_values_has_no_scores(run: Path, change: dict[str, Any]) -> None:
    path = run / "evaluation" / "humaneval-1" / "evaluation.json"
    write(path, json.loads(path.read_text()) | change)
    assert len(measured_scores(run, SHA)) == 5
    path.write_text("[" * 100_000)
    assert len(measured_scores(run, SHA)) == 5
