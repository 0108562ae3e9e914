"""The course: notebooks are executed texts, both languages say the same, and every lesson runs."""

import ast
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from codeling.cli.app import app
from codeling.recipe import parse_recipe

ROOT = Path(__file__).parent.parent
COURSE = ROOT / "docs" / "course"
LESSONS = sorted(path.stem for path in COURSE.glob("[1-6]*.md"))
SIX = [name for name in LESSONS if not name.endswith(".zh")]
MAX_BYTES = 300_000


def notebook(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((COURSE / "notebooks" / f"{name}.ipynb").read_bytes())
    return found


def cells(name: str, kind: str) -> list[str]:
    return ["".join(c["source"]) for c in notebook(name)["cells"] if c["cell_type"] == kind]


def outputs(name: str) -> list[dict[str, Any]]:
    found = notebook(name)["cells"]
    return [each for cell in found if cell["cell_type"] == "code" for each in cell["outputs"]]


def text_of(name: str) -> str:
    return (COURSE / f"{name}.md").read_text(encoding="utf-8")


def test_there_are_six_lessons_and_one_in_chinese() -> None:
    assert [name[0] for name in SIX] == list("123456")
    assert set(LESSONS) - set(SIX) == {f"{SIX[0]}.zh"}


@pytest.mark.parametrize("name", LESSONS)
def test_a_notebook_is_its_text_executed(name: str) -> None:
    jupytext = pytest.importorskip("jupytext")
    source = jupytext.reads(text_of(name), fmt="md:myst")
    kinds = [(cell.cell_type, cell.source) for cell in source.cells]
    shown = [(c["cell_type"], "".join(c["source"])) for c in notebook(name)["cells"]]
    assert shown == kinds, "run `make course`"
    code = [cell for cell in notebook(name)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert not [each for each in outputs(name) if each["output_type"] == "error"]


@pytest.mark.parametrize("name", LESSONS)
def test_a_notebook_is_small_and_shows_pictures_and_figures(name: str) -> None:
    assert (COURSE / "notebooks" / f"{name}.ipynb").stat().st_size <= MAX_BYTES
    assert [each for each in outputs(name) if "image/png" in each.get("data", {})]
    printed = "".join("".join(each.get("text", "")) for each in outputs(name))
    assert len(re.findall(r"\d", printed)) > 20
    assert "Traceback" not in printed
    assert "\x1b" not in printed
    assert str(ROOT) not in json.dumps(notebook(name))


def test_both_languages_run_the_same_code_and_show_the_same_figures() -> None:
    english, chinese = SIX[0], f"{SIX[0]}.zh"
    assert cells(chinese, "code") == cells(english, "code")
    assert outputs(chinese) == outputs(english)
    for mine, theirs in zip(cells(english, "markdown"), cells(chinese, "markdown"), strict=True):
        assert numbers(theirs) == numbers(mine)
        assert sorted(re.findall(r"`([^`]+)`", theirs)) == sorted(re.findall(r"`([^`]+)`", mine))


def numbers(text: str) -> list[str]:
    return sorted(re.findall(r"\d+(?:[.,]\d+)*", re.sub(r"\]\([^)]*\)", "", text)))


@pytest.mark.parametrize(
    ("english", "chinese"), [("README.md", "README.zh.md"), ("docs/course/README.md", None)]
)
def test_the_readmes_of_both_languages_have_equal_commands_and_figures(
    english: str, chinese: str | None
) -> None:
    mine = (ROOT / english).read_text(encoding="utf-8")
    assert "README.zh.md" in mine
    if chinese is None:
        return
    theirs = (ROOT / chinese).read_text(encoding="utf-8")
    assert fenced(theirs) == fenced(mine)
    assert numbers(FENCE.sub("", theirs)) == numbers(FENCE.sub("", mine))


FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def fenced(text: str) -> list[tuple[str, str]]:
    """Blocks of commands and code, without the remarks after ``#``, which are translated."""
    return [(kind, re.sub(r" *#.*", "", body)) for kind, body in FENCE.findall(text)]


def steps() -> list[tuple[str, list[str]]]:
    """Rows of the table of the Hugging Face course: its step, and the code spans beside it."""
    text = (COURSE / "README.md").read_text(encoding="utf-8")
    rows = text[text.index("| step of the course | here |") :].split("\n\n")[0].splitlines()[2:]
    found = []
    for row in rows:
        _, step, here, _ = re.split(r"(?<!\\)\|", row)
        found.append((step.strip(), re.findall(r"`([^`]+)`", here)))
    return found


def is_command(line: str) -> bool:
    return line.startswith(("codeling ", "torchrun "))


def is_python(line: str) -> bool:
    return re.match(r"import |from |print|scores", line) is not None


def table_of(line: str) -> str:
    """The table of a recipe that the line belongs to."""
    tables = {"keywords": "corpus", "sources": "corpus", "take": "corpus", "size": "model",
              "context_length": "model"}  # fmt: skip
    return tables.get(line.partition(" =")[0], "training")


def test_each_step_takes_at_most_two_commands_or_five_lines() -> None:
    assert len(steps()) >= 20
    for step, lines in steps():
        assert len([line for line in lines if is_command(line)]) <= 2, step
        assert len(lines) <= 5, step


def test_each_line_of_the_table_is_a_command_a_recipes_key_or_python() -> None:
    for step, lines in steps():
        ast.parse("\n".join(filter(is_python, lines)))
        for line in lines:
            if is_python(line):
                continue
            if is_command(line):
                words = shlex.split(line[line.index("codeling") :])
                assert words[1] in COMMANDS, step
                continue
            recipe = f"[{table_of(line)}]\n{line}\n"
            if "tokens_per_step" in line:
                recipe = f"[model]\ncontext_length = 128\n{recipe}"
            parse_recipe(recipe)


COMMANDS = {each.name for each in app.registered_commands} | {"tokenizer"}


def test_the_glossary_names_lines_that_are_there() -> None:
    text = (COURSE / "glossary.md").read_text(encoding="utf-8")
    rows = re.findall(r"`: `(.+?)`\]\(\.\./\.\./(.+?)#L(\d+)\)", text)
    assert len(rows) > 25
    for words, path, number in rows:
        lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
        at = [place for place, line in enumerate(lines, start=1) if words in line]
        assert at, f"{path} has no line with {words!r}"
        assert min(abs(place - int(number)) for place in at) < 60, f"{words!r}: line {at[0]}"


@pytest.mark.proof
@pytest.mark.skipif(importlib.util.find_spec("nbclient") is None, reason="needs codeling[course]")
@pytest.mark.timeout(1_500)
def test_every_lesson_runs_in_short_form(tmp_path: Path) -> None:
    """One after the other in one folder, as a reader runs them."""
    folder = str(Path(sys.executable).parent)
    environment = {**os.environ, "CODELING_COURSE": "short", "HF_HUB_OFFLINE": "1",
                   "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}  # fmt: skip
    for name in SIX:
        out = tmp_path / f"{name}.ipynb"
        subprocess.run(
            [sys.executable, "-m", "jupytext", "--to", "ipynb", "--execute", "--run-path",
             str(tmp_path), "--output", str(out), str(COURSE / f"{name}.md")],
            check=True,
            env=environment,
        )  # fmt: skip
        executed = json.loads(out.read_bytes())
        assert [cell for cell in executed["cells"] if cell.get("outputs")]
