"""Printed commands run as printed: complete, quoted, with their options."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from codeling.cli.complete import trace_command
from codeling.cli.next_command import Option, next_command

from .conftest import COMMAND, Call


def test_arguments_and_options_are_quoted() -> None:
    options: dict[str, Option] = {
        "--prompt": "print('a b', $HOME)",
        "-n": 2,
        "--block": True,
        "--set": ["a b", "c"],
    }
    line = next_command("complete", "a folder", options=options)
    assert shlex.split(line) == [
        *("codeling", "complete", "a folder", "--prompt", "print('a b', $HOME)", "-n", "2"),
        *("--block", "--set", "a b", "--set", "c"),
    ]


def test_options_not_given_are_left_out() -> None:
    options: dict[str, Option] = {"--suffix": None, "--block": False, "--stop": [], "--seed": 0}
    assert next_command("complete", "x", options=options) == "codeling complete x --seed 0"


def shell(line: str) -> str:
    """Runs a printed line in a shell with this environment's ``codeling``."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{COMMAND.parent}{os.pathsep}"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        capture_output=True, text=True, timeout=240, stdin=subprocess.DEVNULL,
        env={**os.environ, "PATH": path + os.environ["PATH"]},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def spaced(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "it's a run"))


def printed(out: str) -> list[str]:
    return [line.strip() for line in out.partition("next:\n")[2].splitlines()]


@pytest.mark.parametrize("name", ["corpus", "tokenizer", "train", "run"])
def test_commands_printed_after_a_stage_run(
    main: Call, spaced: Path, recipe_file: Path, name: str
) -> None:
    """Each has the same overrides and folder, so no stage is repeated."""
    override = "evaluation.top_p = 0.95"
    answer = main(name, recipe_file, "--out", spaced, "--set", override)
    assert answer.code == 0, answer.err
    commands = printed(answer.out)
    assert commands
    for line in commands:
        shell(line)


def test_commands_printed_after_the_demo_run(main: Call, demo_arguments: list[str]) -> None:
    """The longer demo is a copy here, whose stages are done."""
    answer = main(*demo_arguments)
    assert answer.code == 0, answer.err
    folder = Path(demo_arguments[demo_arguments.index("--out") + 1])
    assert " " in str(folder)
    shutil.copytree(folder, f"{folder}-longer")
    commands = printed(answer.out)
    assert [shlex.split(line)[1] for line in commands] == ["complete", "complete", "demo"]
    for line in commands:
        shell(line)


def test_the_printed_trace_command_runs(spaced: Path) -> None:
    prompt = "def f(x):\n    print('a b', \"$HOME\")\n"
    options: dict[str, Option] = {
        "--prompt": prompt,
        "--suffix": "\nx = 1\n",
        "-n": 2,
        "--max-new-tokens": 4,
    }
    line = trace_command(str(spaced), None, {**options, "--temperature": 0.5, "--seed": 3})
    assert "--suffix" in line
    assert "--seed 3" in line
    shell(line)
