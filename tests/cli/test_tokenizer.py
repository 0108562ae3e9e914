import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codeling.tokenizer.tokenizer import Tokenizer

Main = Callable[..., Any]


@pytest.fixture
def folder(tokenizer: Tokenizer, tmp_path: Path) -> Path:
    tokenizer.save(tmp_path / "mine" / "tokenizer.json")
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.py").write_text("def f(x):\n    return x\n\n\nprint(f(1))\n" * 4)
    return tmp_path


def test_tokenizers_are_compared(main: Main, folder: Path) -> None:
    answer = main("tokenizer", "compare", str(folder / "mine"), "--on", str(folder / "code"))
    assert answer.code == 0
    assert "mine" in answer.out
    assert "100 %" in answer.out
    assert "1 file of" in answer.out


def test_a_comparison_is_written_as_json_and_page(main: Main, folder: Path) -> None:
    page = folder / "cuts.html"
    mine = str(folder / "mine" / "tokenizer.json")
    answer = main(
        *("tokenizer", "compare", mine, mine, "--on", str(folder / "code")),
        *("--html", str(page), "--json"),
    )
    assert answer.code == 0
    result = json.loads(answer.out)
    assert [each["name"] for each in result["tokenizers"]] == ["mine", "mine"]
    assert result["page"] == str(page)
    assert page.read_text(encoding="utf-8").count('<pre class="cut">') == 2


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "'RECIPE'"),
        (["nowhere.toml"], 2, "nowhere.toml: cannot be read"),
        (["compare"], 2, "see codeling tokenizer compare --help"),
        (["compare", "nowhere"], 2, "--on"),
        (["compare", "nowhere", "--on", "."], 1, "nowhere: cannot be read"),
        (["RECIPE", "nowhere.toml"], 2, "nowhere.toml: cannot be read"),
    ],
)
def test_wrong_use_is_one_line(main: Main, arguments: list[str], code: int, words: str) -> None:
    answer = main("tokenizer", *arguments)
    assert (answer.code, answer.out) == (code, "")
    (line,) = answer.err.splitlines()
    assert line.startswith("codeling: ")
    assert words in line


def test_help_covers_learning_and_comparing(main: Main) -> None:
    answer = main("tokenizer", "--help")
    assert answer.code == 0
    assert "compare" in answer.out
    assert "RECIPE" in answer.out
    assert "--on" in main("tokenizer", "compare", "--help").out
