"""The metadata of model cards, written by this package and from elsewhere."""

from pathlib import Path

import pytest

from codeling.export.card_metadata import CardMetadata, CardScore, read_card, with_scores
from codeling.export.inspection import as_text, inspect_model
from codeling.export.scores import MeasuredScore

from .conftest import WriteModel

SCORES = [
    MeasuredScore("humaneval", "pass@1", 0.0381234, (0.01, 0.06), "HumanEval, 164 problems"),
    MeasuredScore("test split", "bits per byte", 1.25, None, "1,000 bytes of 3 repositories"),
    MeasuredScore("test split", "exact match", 0.5, None, "7 lines"),
]
OF_MEMORY = MeasuredScore("humaneval, memory", "pass@1", 0.9, None, "HumanEval", of_weights=False)
CARD = "---\nlanguage:\n- code\nversion: 1.10  # a comment\n---\r\n\n# A model\n\nText.\n"
NOTHING = CardMetadata([], [], [])


def test_scores_of_the_weights_are_added_and_all_other_text_is_kept(tmp_path: Path) -> None:
    card = with_scores(CARD, [*SCORES, OF_MEMORY])
    head, tail = CARD.split("\n---\r\n")
    assert card.startswith(f"{head}\nmodel-index:\n")
    assert card.endswith(f"\n---\r\n{tail}")
    (tmp_path / "README.md").write_text(card)
    assert read_card(tmp_path).scores == [
        CardScore("HumanEval, 164 problems", "pass@1", "0.0381"),
        CardScore("1,000 bytes of 3 repositories", "bits per byte", "1.25"),
        CardScore("7 lines", "exact match", "0.5"),
    ]


@pytest.mark.parametrize(
    "card",
    [
        "---\n{license: mit, tags: [a]}\n---\n# A\n",
        "---\n  license: mit\n  tags: [a]\n---\n# A\n",
        "---\nlicense: mit\n...\n---\n# A\n",
        "---\nmodel-index: 3\n---\n# A\n",
        "# A\n",
        "---\n\nA rule, no metadata\n",
        "----\ntext\n",
        "---\na: [\n---\n# A\n",
        "---\n- a\n---\n# A\n",
        with_scores(CARD, SCORES[:1]),
    ],
)
def test_a_card_with_scores_or_without_metadata_is_unchanged(
    card: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert with_scores(card, SCORES) == card
    assert capfd.readouterr().err == ""


def test_a_text_that_names_the_key_is_no_score() -> None:
    card = "---\ntags: [no-model-index]\n# model-index: later\n---\n# A\n"
    assert "\nmodel-index:\n" in with_scores(card, SCORES)


def test_without_scores_of_the_weights_a_card_is_unchanged() -> None:
    assert with_scores(CARD, [OF_MEMORY]) == CARD


def test_a_model_outside_a_run_shows_the_values_in_its_card(write_model: WriteModel) -> None:
    folder = write_model()
    (folder / "README.md").write_text(
        '---\nbase_model: a/small\ndatasets:\n- a/one\n- "a\\nb\\e[31m"\n- {a: b}\n'
        "model-index:\n- name: x\n"
        "  results:\n  - task: {type: text-generation}\n"
        "    dataset: {type: openai_humaneval, name: HumanEval}\n"
        "    metrics:\n    - {type: code_eval, name: pass@1, value: 3.8 %}\n"
        f"    - {{type: code_eval, name: pass@9, value: 0x{'f' * 6000}}}\n"
        "    - {type: code_eval, name: [1], value: .nan}\n"
        "  - task: {type: text-generation}\n"
        "license: [mit]\n---\n# A model\n"
    )
    values = inspect_model(str(folder))
    assert values["license"] is None
    assert values["card"] == {
        "base_models": ["a/small"],
        "datasets": ["a/one", "a b[31m"],
        "scores": [{"data": "HumanEval", "metric": "pass@1", "value": "3.8 %"}],
    }
    lines = [line.split() for line in as_text(values)]
    assert ["its", "card", "says", "base", "model", "a/small"] in lines
    assert ["HumanEval:", "pass@1", "3.8", "%"] in lines


@pytest.mark.parametrize(
    "metadata",
    ["", "[]", "3", "a: [", "model-index: 3", "model-index: []", "model-index:\n- name: x",
     "datasets: {}", "base_model:"],
)  # fmt: skip
def test_unreadable_metadata_gives_no_values(tmp_path: Path, metadata: str) -> None:
    assert read_card(tmp_path) == NOTHING
    (tmp_path / "README.md").write_bytes(f"---\n{metadata}\n---\n".encode() + b"\xff")
    assert read_card(tmp_path) == NOTHING
