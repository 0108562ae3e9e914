import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from codeling import cli
from codeling.cli.app import app

Main = Callable[..., Any]
COMMANDS = [
    *("demo", "run", "corpus", "tokenizer", "train"),
    *("complete", "serve", "lsp", "evaluate", "trace", "doctor"),
    *("adapt", "export", "inspect", "watch", "course"),
]


def test_help_names_every_command(main: Main) -> None:
    answer = main("--help")
    assert answer.code == 0
    assert all(f"\n  {command} " in answer.out for command in COMMANDS)
    names = [each.name for each in app.registered_commands]
    assert {*names, *(each.name for each in app.registered_groups)} == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example_on_its_own_line(
    main: Main, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    answer = main(command, "--help")
    (line,) = (line for line in answer.out.splitlines() if "Example:" in line)
    assert line.strip().startswith(f"Example:  codeling {command}")
    assert "--json" in answer.out or command == "lsp"  # whose output is a protocol
    assert "--help" in answer.out


def test_codeling_without_a_command_shows_the_help(main: Main) -> None:
    answer = main()
    assert answer.code == 2
    assert answer.out.split() == main("-h").out.split()


def test_version_is_printed(main: Main) -> None:
    answer = main("--version")
    assert (answer.code, answer.out.split()[0]) == (0, "codeling")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["runn"], "Did you mean 'run'? see codeling --help"),
        (["run"], "'RECIPE'; see codeling run --help"),
        (["run", "a.toml", "--sett", "x"], "--set"),
        (["demo", "--minutes", "many"], "--minutes"),
        (["demo", "--minutes", "0"], "--minutes"),
        (["demo", "more"], "more"),
    ],
)
def test_wrong_use_is_one_line(main: Main, arguments: list[str], words: str) -> None:
    answer = main(*arguments)
    assert (answer.code, answer.out) == (2, "")
    (line,) = answer.err.splitlines()
    assert line.startswith("codeling: ")
    assert words in line


def test_help_takes_less_than_300_ms() -> None:
    """Processor time, because the machine may be busy."""
    program = f"import sys; sys.argv = ['codeling', '--help']; import codeling.cli; {_CALL}"
    seconds = []
    for _ in range(5):
        before = os.times()
        answer = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
        after = os.times()
        used = (after.children_user, after.children_system)
        seconds.append(sum(used) - before.children_user - before.children_system)
        heavy = json.loads(answer.stdout.splitlines()[-1])
        assert heavy == []
    assert min(seconds) < 0.3


_CALL = """
try:
    codeling.cli.main()
except SystemExit:
    pass
import json
heavy = ("torch", "daft", "pydantic", "numpy", "pyarrow", "tokenizers", "matplotlib")
print(); print(json.dumps([name for name in heavy if name in sys.modules]))
"""


def test_an_unexpected_error_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "_call", broken)
    with pytest.raises(ZeroDivisionError):
        cli.main()


def test_an_accelerator_out_of_memory_is_one_line(
    main: Main, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 20.00 GiB.")

    monkeypatch.setattr(cli, "_call", fail)
    answer = main("doctor")
    assert answer.code == 1
    assert "training.micro_batch_size" in answer.err
    assert answer.err.count("\n") == 1
