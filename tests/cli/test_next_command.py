"""Printed commands run as printed: complete, quoted, with their options."""

import io
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from codeling.cli.complete import trace_command
from codeling.cli.next_command import Option, next_command

from .conftest import Call


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


Shell = Callable[[str], str]


@pytest.fixture
def shell(main: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shell:
    """Runs a printed line: a shell takes it apart, and this process runs its commands."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "codeling").write_text('#!/bin/sh\nprintf "%s\\0" "$@" > "$(mktemp -p "$CALLS")"\n')
    (folder / "codeling").chmod(0o755)

    def run(line: str) -> str:
        calls = Path(tempfile.mkdtemp(dir=tmp_path))
        path = f"{folder}{os.pathsep}{os.environ['PATH']}"
        subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            check=True, timeout=60, stdin=subprocess.DEVNULL,
            env={**os.environ, "PATH": path, "CALLS": str(calls)},
        )  # fmt: skip
        arguments = [each.read_text().split("\0")[:-1] for each in calls.iterdir()]
        arguments.sort(key=lambda words: words[0] == "trace")  # the last of a pipe
        out = ""
        for words in arguments:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(out.encode())))
            answer = main(*words)
            assert answer.code == 0, answer.err
            out = answer.out
        assert arguments
        return out

    return run


@pytest.fixture
def spaced(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "it's a run"))


def printed(out: str) -> list[str]:
    return [line.strip() for line in out.partition("next:\n")[2].splitlines()]


@pytest.mark.parametrize("name", ["corpus", "tokenizer", "train", "run"])
def test_commands_printed_after_a_stage_run(
    main: Call, shell: Shell, spaced: Path, recipe_file: Path, name: str
) -> None:
    """Each has the same overrides and folder, so no stage is repeated."""
    override = "evaluation.top_p = 0.95"
    answer = main(name, recipe_file, "--out", spaced, "--set", override)
    assert answer.code == 0, answer.err
    commands = printed(answer.out)
    assert commands
    for line in commands:
        shell(line)


def test_commands_printed_after_the_demo_run(
    main: Call, shell: Shell, demo_arguments: list[str]
) -> None:
    """The longer demo is a copy here, whose stages are done. Other tests start a server."""
    answer = main(*demo_arguments)
    assert answer.code == 0, answer.err
    folder = Path(demo_arguments[demo_arguments.index("--out") + 1])
    assert " " in str(folder)
    shutil.copytree(folder, f"{folder}-longer")
    commands = printed(answer.out)
    names = [shlex.split(line)[1] for line in commands]
    assert sorted(names) == ["complete", "complete", "demo", "serve"]
    for name, line in zip(names, commands, strict=True):
        if name == "serve":
            assert shlex.split(line)[2:] == [str(folder)]
        else:
            shell(line)


def test_the_printed_trace_command_runs(shell: Shell, spaced: Path) -> None:
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
    assert "| codeling trace" in line
    shell(line)
