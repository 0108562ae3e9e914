import io
import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

from codeling import cli
from codeling.cli.demo import PROMPTS, _expectation
from codeling.recipe import parse_recipe
from codeling.run import STAGES
from codeling.training import machine

Main = Callable[..., Any]


def test_the_demo_ends_with_completions_scores_and_next_commands(
    main: Main, demo_arguments: list[str]
) -> None:
    answer = main(*demo_arguments)
    assert answer.code == 0, answer.err
    for prompt in PROMPTS:
        assert prompt in answer.out
    assert "test bits per byte" in answer.out
    assert "parse rate" in answer.out
    assert "with the memory" in answer.out
    assert "report.html" in answer.out
    commands = answer.out.partition("next:\n")[2].splitlines()
    assert len(commands) == 4
    assert commands[-1].startswith("  codeling serve ")
    assert all(command.startswith("  codeling ") for command in commands)
    assert answer.err.count("unchanged, skipped") == len(STAGES)


def test_json_has_completions_and_scores(main: Main, demo_arguments: list[str]) -> None:
    answer = main(*demo_arguments, "--json")
    assert answer.out.count("\n") == 1
    values = json.loads(answer.out)
    assert [completion["prompt"] for completion in values["completions"]] == list(PROMPTS)
    assert values["bits_per_byte"] > 0
    assert values["stages"].keys() >= {"corpus", "training", "report"}


def test_a_terminal_without_utf8_gets_escapes(
    demo_arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "argv", ["codeling", *demo_arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 0
    out.flush()
    assert b"\\u2500" in out.buffer.getvalue()


@pytest.mark.parametrize(
    ("has_bf16", "opening", "scores"),
    [
        (False, "this processor has no bf16.", (1.47, 1.17)),
        (True, "this processor has bf16.", (1.17, 1.47)),
    ],
)
def test_the_opening_line_gives_the_scores_of_this_kind_of_processor_first(
    has_bf16: bool, opening: str, scores: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "multiplies_bf16", lambda device: has_bf16)
    line = _expectation(parse_recipe("", ["training.device=cpu"]))
    assert line.startswith(opening)
    first, second = (line.index(f"about {score}") for score in scores)
    assert first < second


@pytest.mark.parametrize(("minutes", "ending"), [(6, ""), (60, ". This run trains for 60 min")])
def test_the_opening_line_names_another_length_of_training(minutes: int, ending: str) -> None:
    line = _expectation(parse_recipe("", ["training.device=cpu", f"training.minutes={minutes}"]))
    assert "after six minutes of training" in line
    assert line.endswith(ending)
    assert ("This run trains" in line) == bool(ending)
