import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from codeling.cli.app import app
from codeling.errors import UsageError


def inspected(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, ["inspect", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_a_run_says_what_it_was_made_of(finished: Path) -> None:
    values = json.loads(inspected(finished, "--json"))
    assert values["training"]["steps"] == 30
    assert values["training"]["settings"]["tokens_per_step"] == 512
    data = values["data"]
    assert 0 < data["bytes"] <= sum(each["bytes"] for each in data["sources"])
    for key in ("bytes", "repositories"):
        rows = [each.get(key, 1) for each in data["sources"]]
        assert sum(each[key] for each in data["by_license"]) == sum(rows)
    assert values["made"]["versions"].keys() >= {"torch", "codeling"}
    assert {score["name"] for score in values["scores"]} >= {"bits per byte"}
    text = inspected(finished)
    for name in ("parameters", "vocabulary", "training", "data", "test split", "made"):
        assert f"\n{name}" in text
    assert inspected(finished / "model").splitlines()[2:] == text.splitlines()[2:]


@pytest.mark.parametrize("address", ["hf://foo", "hf://owner/name/file"])
def test_a_malformed_address_is_named_once(address: str) -> None:
    result = CliRunner().invoke(app, ["inspect", address])
    assert str(result.exception) == f"{address} is not a model; write it as hf://owner/name"


def test_a_ctranslate2_folder_is_recognised_and_refused(tmp_path: Path) -> None:
    for name in ("config.json", "vocabulary.json", "model.bin"):
        (tmp_path / name).write_text("{}")
    result = CliRunner().invoke(app, ["inspect", str(tmp_path)])
    assert isinstance(result.exception, UsageError)
    assert "is a model for CTranslate2" in str(result.exception)
