"""The metadata of model cards, written by this package and from elsewhere."""

from pathlib import Path

import pytest

from codeling.export.card_metadata import StatedOrigin, StatedScore, stated_origin, with_scores
from codeling.export.inspection import as_text, inspect_model
from codeling.export.scores import MeasuredScore

from .conftest import WriteModel

SCORES = [
    MeasuredScore("humaneval", "pass@1", 0.0381234, (0.01, 0.06), "HumanEval, 164 problems"),
    MeasuredScore("test split", "bits per byte", 1.25, None, "1,000 bytes of 3 repositories"),
    MeasuredScore("test split", "exact match", 0.5, None, "7 lines"),
    MeasuredScore("humaneval, memory", "pass@1", 0.9, None, "HumanEval, 164 problems", True),
]
CARD = "---\nlanguage:\n- code\nlicense: mit\n---\n\n# A model\n\nText.\n"
NOTHING = StatedOrigin([], [], [])


def test_scores_are_written_and_read_and_the_rest_of_the_card_stays(tmp_path: Path) -> None:
    card = with_scores(CARD, "demo", SCORES)
    assert card.endswith("# A model\n\nText.\n")
    assert "license: mit\n" in card
    (tmp_path / "README.md").write_text(card)
    assert stated_origin(tmp_path).scores == [
        StatedScore("HumanEval, 164 problems", "pass@1", "0.0381"),
        StatedScore("1,000 bytes of 3 repositories", "bits per byte", "1.25"),
        StatedScore("7 lines", "exact match", "0.5"),
    ]


def test_scores_that_a_card_states_are_kept(tmp_path: Path) -> None:
    once = with_scores(CARD, "demo", SCORES[:1])
    (tmp_path / "README.md").write_text(with_scores(once, "other", SCORES[1:2]))
    assert [each.metric for each in stated_origin(tmp_path).scores] == ["pass@1", "bits per byte"]
    assert "name: demo\n" in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize("card", ["# A\n", "---\na: [\n---\n# A\n", "---\n- a\n---\n# A\n"])
def test_a_card_without_readable_metadata_stays_as_it_is(
    card: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert with_scores(card, "demo", SCORES) == card
    assert capfd.readouterr().err == ""


def test_a_folder_from_elsewhere_shows_what_its_card_states(write_model: WriteModel) -> None:
    folder = write_model()
    (folder / "README.md").write_text(
        "---\nbase_model: a/small\ndatasets:\n- a/one\n- a/two\nmodel-index:\n- name: x\n"
        "  results:\n  - task: {type: text-generation}\n"
        "    dataset: {type: openai_humaneval, name: HumanEval}\n"
        "    metrics:\n    - {type: code_eval, name: pass@1, value: 3.8 %}\n---\n# A model\n"
    )
    values = inspect_model(str(folder))
    assert values["card"] == {
        "base_models": ["a/small"],
        "datasets": ["a/one", "a/two"],
        "scores": [{"data": "HumanEval", "metric": "pass@1", "value": "3.8 %"}],
    }
    lines = as_text(values)
    assert "its card says trained from a/small" in lines
    assert any(line.strip() == "HumanEval: pass@1 3.8 %" for line in lines)


@pytest.mark.parametrize(
    "metadata",
    ["", "[]", "3", "a: [", "model-index: 3", "model-index: []", "model-index:\n- name: x",
     "datasets: {}", "base_model:"],
)  # fmt: skip
def test_nonsense_states_nothing(tmp_path: Path, metadata: str) -> None:
    assert stated_origin(tmp_path) == NOTHING
    (tmp_path / "README.md").write_bytes(f"---\n{metadata}\n---\n".encode() + b"\xff")
    assert stated_origin(tmp_path) == NOTHING
