from collections.abc import Callable
from typing import Any

import pytest

Main = Callable[..., Any]


@pytest.mark.parametrize(
    ("command", "usage"),
    [
        (["run"], "codeling run [OPTIONS] RECIPE"),
        (["complete"], "codeling complete [OPTIONS] MODEL [FILE]"),
        (["tokenizer", "compare"], "codeling tokenizer compare [OPTIONS] TOKENIZER..."),
        (["tokenizer", "a.toml"], "codeling tokenizer [OPTIONS] RECIPE"),
    ],
)
def test_a_usage_line_names_each_argument_once_and_without_braces(
    main: Main, command: list[str], usage: str
) -> None:
    assert main(*command, "--help").out.splitlines()[0] == f"Usage: {usage}"
