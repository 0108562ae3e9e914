import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from codeling.adaptation.replay import REPLAY
from codeling.cli.adapt import summary
from codeling.cli.app import app
from codeling.errors import CodelingError, UsageError

VALUES: dict[str, Any] = {
    "project": {"held_out": {"files": 3, "bytes": 4567}, "newest_by": "git"},
    "num_lines": 400,
    "before": {
        "next_line": 0.1,
        "next_line_with_memory": 0.2,
        "bits_per_byte": 1.5,
        "other_bits_per_byte": 1.0,
    },
    "after": {
        "next_line": 0.14,
        "next_line_with_memory": 0.25,
        "bits_per_byte": 1.2,
        "other_bits_per_byte": 1.005,
    },
    "next_line_gain_interval_95": [0.01, 0.07],
    "next_line_with_memory_gain_interval_95": None,
}


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(app, ["adapt", *map(str, arguments)])
    if isinstance(result.exception, CodelingError):
        raise result.exception
    return result


def test_the_summary_shows_the_gain() -> None:
    assert summary(VALUES) == [
        "held out      the newest 3 files, by git (4,567 bytes, 400 lines predicted)",
        "next line     10.0 % -> 14.0 % exactly right (+4.0 points, 95 % interval +1.0 to +7.0)",
        "with memory   20.0 % -> 25.0 % exactly right (+5.0 points)",
        "this project  1.500 -> 1.200 bits per byte (-20.0 %)",
        "other code    1.000 -> 1.005 bits per byte (+0.5 %)",
    ]


def test_the_command_passes_its_options(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: list[Any] = []

    def adapt(*arguments: Any) -> dict[str, Any]:
        given.extend(arguments)
        return VALUES

    monkeypatch.setattr("codeling.adaptation.adapting.adapt", adapt)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my project").mkdir()
    result = run("runs/demo", "my project", "--minutes", "2", "--replay", "0.75", "--json")
    recipe, project, out, replay, *_ = given
    assert (recipe.training.init, recipe.training.minutes) == ("runs/demo", 2.0)
    assert recipe.training.mixture_exponent == 0
    assert (project, out, replay) == (Path("my project"), Path("runs/my project"), 0.75)
    assert json.loads(result.stdout)["num_lines"] == 400
    given.clear()
    text = run("runs/demo", tmp_path / "my project", "--set", "training.steps=9").stdout
    assert given[3] == REPLAY, "the command and the function have the same default"
    assert f"codeling serve 'runs/my project' --project '{tmp_path / 'my project'}'" in text


@pytest.mark.parametrize(
    "override, message",
    [
        ("training.init=foo", "--set training.init: adapt sets it itself; the model is the"),
        ("training.minutes=3", "--set training.minutes: adapt sets it itself; give --minutes"),
        ("training.mixture_exponent=1", "mixed by --replay"),
        ("corpus.train_on=functions", "--set corpus.train_on: adapt reads only"),
    ],
)
def test_a_key_that_adapt_sets_is_one_line(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run("runs/demo", tmp_path, "--set", override)


def test_a_missing_project_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such folder; give a project's folder"):
        run("runs/demo", tmp_path / "nowhere")
