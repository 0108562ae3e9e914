import json
import struct
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from codeling.export.model_card import Ancestor, model_card
from codeling.model.config import GPT2Config
from codeling.recipe import Recipe

RECIPE = Recipe().resolved()
CONFIG = GPT2Config(4001, **RECIPE.model.model_dump(exclude={"size"}))


def card_of(folder: Path) -> str:
    return model_card(folder, RECIPE, CONFIG)


def source(name: str, num_bytes: int, splits: list[str], license_: str = "MIT") -> dict[str, Any]:
    return {"repository": name, "license": license_, "bytes": num_bytes, "splits": splits}


def run_folder(
    folder: Path,
    sources: list[dict[str, Any]],
    lines: list[dict[str, Any]],
    split_by: str = "repository",
) -> Path:
    (folder / "corpus").mkdir()
    splits = {"train": {"repositories": 2, "files": 1234, "bytes": 5_678_901}}
    report = {"sources": sources, "splits": splits, "split_by": split_by}
    (folder / "corpus" / "report.json").write_text(json.dumps(report))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "tokens").mkdir()
    header = struct.pack("<8sIIQQ", b"CODELING", 1, 2, 3, NUM_SPLIT_TOKENS)
    (folder / "tokens" / "train.idx").write_bytes(header)
    return folder


NUM_SPLIT_TOKENS = 33_400_000
STEP = {"kind": "step", "step": 1200, "tokens": 9_830_400, "seconds": 3601.5}
VALIDATION = {"kind": "validation", "step": 1200, "bits_per_byte": 1.4567}


@pytest.fixture
def card(tmp_path: Path) -> str:
    sources = [
        source("small-1.0", 10, ["train"]),
        source("large-2.0", 5000, ["train"], "BSD"),
        source("held-out-3.0", 9000, ["test"]),
    ]
    return card_of(run_folder(tmp_path, sources, [STEP, VALIDATION]))


def test_the_card_lists_the_training_data(card: str) -> None:
    assert "1,234 files: 5,678,901 bytes of 2 repositories" in card
    rows = [line for line in card.splitlines() if line.startswith("| ")]
    assert rows[1:3] == ["| large-2.0 | BSD | 5,000 |", "| small-1.0 | MIT | 10 |"]
    assert rows[4:] == ["| BSD | 1 | 5,000 |", "| MIT | 1 | 10 |"]
    assert "held-out" not in card


@pytest.mark.parametrize(
    "tokens, expected",
    [
        (677_888, "read 677,888 tokens, 2 % of the 33,400,000 tokens of the training split."),
        (9_830_400, "read 9,830,400 tokens, 29 % of the 33,400,000 tokens of the training split."),
        (100_200_000, "tokens, 3.0 times the 33,400,000 tokens of the training split."),
    ],
)
def test_the_card_states_how_much_of_the_split_was_read(
    tmp_path: Path, tokens: int, expected: str
) -> None:
    folder = run_folder(tmp_path, [source("a", 1, ["train"])], [{**STEP, "tokens": tokens}])
    assert expected in card_of(folder)


def test_the_card_describes_the_model_and_the_training(card: str) -> None:
    assert f"{CONFIG.num_parameters:,} parameters" in card
    assert "vocabulary 4,001" in card
    assert "1,200 steps, 9,830,400 tokens" in card
    assert "1.457 bits per byte" in card
    assert f"{RECIPE.training.fim_rate:.0%} of the documents" in card


@pytest.mark.parametrize("split_by, words", [("repository", "repositories"), ("file", "files")])
def test_the_card_names_the_unit_of_the_split(tmp_path: Path, split_by: str, words: str) -> None:
    folder = run_folder(tmp_path, [], [STEP, VALIDATION], split_by)
    assert f"on excerpts of {words} that were not trained on" in card_of(folder)


def test_huggingface_hub_parses_the_card(card: str) -> None:
    data = huggingface_hub.ModelCard(card).data.to_dict()  # type: ignore[no-untyped-call]
    assert data["library_name"] == "transformers"
    assert data["pipeline_tag"] == "text-generation"
    assert {"gpt2", "python"} <= set(data["tags"])


def test_many_repositories_are_counted_by_licence(tmp_path: Path) -> None:
    sources = [source(f"r{n:02}", 1000 - n, ["train"], "MIT") for n in range(20)]
    sources += [source("x", 1, ["train"], "BSD"), source("y", 1, ["train", "test"], "MIT")]
    text = card_of(run_folder(tmp_path, sources, []))
    assert "2 more repositories are in `corpus/report.json`." in text
    assert "| MIT | 21 | 19,811 |" in text
    assert "| BSD | 1 | 1 |" in text
    assert text.count("\n| r") == 21  # includes the table's head


def test_a_name_cannot_break_the_table(tmp_path: Path) -> None:
    sources = [source("a|b", 5, ["train"], "GPL\n| or | so")]
    text = card_of(run_folder(tmp_path, sources, []))
    rows = [line for line in text.splitlines() if line.startswith("| ") and "5" in line]
    assert rows == [r"| a\|b | GPL \| or \| so | 5 |", r"| GPL \| or \| so | 1 | 5 |"]


def test_a_run_without_a_step_has_a_card(tmp_path: Path) -> None:
    text = card_of(run_folder(tmp_path, [], []))
    assert "steps," not in text
    assert "bits per byte on" not in text


@pytest.mark.parametrize("license_, words", [("mit", "the licence mit"), (None, "no licence")])
def test_the_card_names_the_model_that_training_started_from(
    tmp_path: Path, license_: str | None, words: str
) -> None:
    origin = Ancestor("hf://owner/name@main", "ab" * 32, license_)
    text = model_card(run_folder(tmp_path, [], []), RECIPE, CONFIG, origin)
    assert f"`hf://owner/name@main` (SHA-256 of its weights {'ab' * 32}; its card names " in text
    assert words in text
    assert "from scratch" not in text
    assert huggingface_hub.ModelCard(text).data.to_dict()["base_model"] == "owner/name"  # type: ignore[no-untyped-call]
