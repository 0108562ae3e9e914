"""``codeling trace``: files, standard input, JSON and wrong input."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from codeling.cli.source_file import read_source
from codeling.cli.trace import trace
from codeling.errors import InputError, UsageError
from codeling.provenance.index import build

TEXT = """\
def merge(left, right, key=None):
    result, i, j = [], 0, 0
    while i < len(left) and j < len(right):
        if key(left[i]) <= key(right[j]):
            result.append(left[i])
            i += 1
        else:
            result.append(right[j])
            j += 1
    return result + left[i:] + right[j:]
"""


@dataclass(frozen=True)
class Document:
    repository: str = "algorithms-1.0"
    path: str = "algorithms/[sort].py"
    text: str = "import math\n\n\n" + TEXT
    license: str = "BSD-3-Clause"
    url: str = "https://example.org/algorithms"
    start_line: int = 1


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.command()(trace)
    return app


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    build([Document()], tmp_path / "provenance")
    (tmp_path / "model").mkdir()
    return tmp_path


def test_a_file_is_traced_to_a_table(app: typer.Typer, run_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "completion.py"
    file.write_text("\n" + TEXT)
    result = CliRunner().invoke(app, [str(run_folder), str(file)], env={"COLUMNS": "120"})
    assert result.exit_code == 0, result.output
    for expected in (
        "algorithms-1.0: algorithms/[sort].py:4-13",
        "2-11",
        "100 %",
        "BSD-3-Clause",
        "https://example.org/algorithms",
    ):
        assert expected in result.output


def test_standard_input_is_traced_to_json(app: typer.Typer, run_folder: Path) -> None:
    for model in (run_folder, run_folder / "model", run_folder / "provenance"):
        result = CliRunner().invoke(app, [str(model), "--json"], input=TEXT)
        assert result.exit_code == 0, result.output
        (match,) = json.loads(result.stdout)["matches"]
        assert match["repository"] == "algorithms-1.0"
        assert (match["start_line"], match["end_line"]) == (4, 13)
        assert match["share"] == 1.0


def test_lines_limit_what_is_traced(app: typer.Typer, run_folder: Path) -> None:
    text = "x = 1\ny = 2\n" + TEXT
    for lines, found in (("1-2", 0), ("2", 0), ("5", 1), ("2-4", 1), ("12-99", 1)):
        arguments = [str(run_folder), "--lines", lines, "--json"]
        result = CliRunner().invoke(app, arguments, input=text)
        assert result.exit_code == 0, result.output
        assert len(json.loads(result.stdout)["matches"]) == found
    result = CliRunner().invoke(app, [str(run_folder), "--lines", "1-2"], input=text)
    assert "on these lines" in result.stdout
    for lines, message in (
        *(("5-2", "lines 5 to 2 are not a range"), ("0", "lines count from 1")),
        *(
            (lines, f"--lines {lines}: not a range of lines")
            for lines in ("a", "3-", "-3", "1-2-3")
        ),
    ):
        result = CliRunner().invoke(app, [str(run_folder), f"--lines={lines}"], input=text)
        assert isinstance(result.exception, UsageError)
        assert message in str(result.exception)


def test_an_unknown_text_gives_no_matches(app: typer.Typer, run_folder: Path) -> None:
    result = CliRunner().invoke(app, [str(run_folder), "-"], input="x = 1\n")
    assert result.exit_code == 0
    assert result.output.startswith("No passage")
    result = CliRunner().invoke(app, [str(run_folder), "-", "--json"], input="x = 1\n")
    assert json.loads(result.stdout) == {"text": "standard input", "matches": []}


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"x = 1\ny = '\xe9'\n", r"line 2 \(byte 11\) is not UTF-8; save it as UTF-8, or declare"),
        (b"# coding: nonsense\nx = 1\n", "the encoding that it declares does not fit"),
        (b"# coding: ascii\nx = '\xc3\xa9'\n", "the encoding that it declares does not fit"),
    ],
)
def test_undecodable_bytes_are_refused_with_their_place(
    app: typer.Typer, run_folder: Path, tmp_path: Path, data: bytes, reason: str
) -> None:
    file = tmp_path / "latin.py"
    file.write_bytes(data)
    result = CliRunner().invoke(app, [str(run_folder), str(file)])
    assert isinstance(result.exception, InputError)
    assert re.search(f"latin.py: not Python text: {reason}", str(result.exception))


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", TEXT.encode("utf-16")])
def test_a_binary_file_is_refused(app: typer.Typer, run_folder: Path, data: bytes) -> None:
    result = CliRunner().invoke(app, [str(run_folder)], input=data)
    assert isinstance(result.exception, InputError)
    assert "standard input: not Python text: it contains NUL bytes" in str(result.exception)


def test_a_file_is_decoded_by_its_declared_encoding(
    app: typer.Typer, run_folder: Path, tmp_path: Path
) -> None:
    text = "# coding: cp1251\n" + TEXT + "# привет\n"
    file = tmp_path / "file.py"
    file.write_bytes(text.encode("cp1251"))
    assert read_source(str(file)) == (str(file), text)
    result = CliRunner().invoke(app, [str(run_folder), str(file), "--json"])
    assert json.loads(result.stdout)["matches"]


def test_a_wrong_path_is_one_line(app: typer.Typer, run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    for arguments, expected in (
        (["nowhere", "-"], "nowhere: no such folder"),
        ([str(tmp_path / "bare" / "model"), "-"], "no such folder"),
        ([str(run_folder), "missing.py"], "missing.py: cannot be read"),
        ([str(run_folder), str(run_folder)], "cannot be read"),
    ):
        result = CliRunner().invoke(app, arguments, input="")
        assert isinstance(result.exception, UsageError)
        assert expected in str(result.exception)
        assert "\n" not in str(result.exception)


def test_a_run_without_an_index_is_one_line(app: typer.Typer, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "model").mkdir(parents=True)
    for message in ("not a run folder, so it has no provenance index", "`codeling run` makes one"):
        result = CliRunner().invoke(app, [str(folder), "-"], input="")
        assert isinstance(result.exception, InputError | UsageError)
        assert message in str(result.exception)
        (folder / "recipe.toml").touch()
    (folder / "adaptation.json").touch()
    result = CliRunner().invoke(app, [str(folder), "-"], input="")
    assert "give the run that it started from" in str(result.exception)


def test_the_module_imports_nothing_heavy() -> None:
    code = (
        "import sys, codeling.cli.trace\n"
        "heavy = {'numpy', 'torch', 'daft', 'pyarrow', 'rich.table'} & set(sys.modules)\n"
        "print(*heavy)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ}
    )
    assert not answer.stdout.strip()
