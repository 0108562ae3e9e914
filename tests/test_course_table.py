"""Chapter 7.6 of the Hugging Face course: the table in docs/course/README.md, run line by line on
small stand-ins for its data, its sizes and the Hub."""

import gzip
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest

from codeling.recipe import parse_recipe

from .export.hub_stand_in import TOKEN, hub_stand_in
from .test_course import is_command, is_python, steps, table_of

pytestmark = [pytest.mark.proof, pytest.mark.timeout(900)]
KEYWORDS = ("pandas", "sklearn", "matplotlib", "seaborn")
SMALLER = {
    "corpus": ["validation_share = 0.2", "test_share = 0.1"],
    "tokenizer": ["vocab_size = 600"],
    "model": ["n_layer = 2", "n_head = 2", "n_embd = 64"],
    "training": ["tokens = 40_960", "tokens_per_step = 1024", "validation_tokens = 2048",
                 "warm_start_steps = 5", "keep_every = 10", "threads = 1"],
    "evaluation": ["completions = 4", "max_bytes = 20_000", "max_new_tokens = 16"],
}  # fmt: skip
"""Lines in place of those of the table with the same keys."""


def write_recipe(path: Path, lines: list[str], small: Mapping[str, list[str]]) -> None:
    """Write the lines, and ``small`` in place of some; a later line replaces an earlier one."""
    tables: dict[str, dict[str, str]] = {table: {} for table in small}
    for table, line in [
        *((table_of(line), line) for line in lines),
        *((table, line) for table, found in small.items() for line in found),
    ]:
        tables[table][line.partition(" =")[0]] = line
    path.write_text(
        "\n\n".join("\n".join([f"[{table}]", *found.values()]) for table, found in tables.items())
    )
    parse_recipe(path.read_text())


def rows(paths: list[Path]) -> bytes:
    """Files in codeparrot's columns, three of one repository after another."""
    lines = []
    for number, path in enumerate(paths):
        row = {"repo_name": f"owner/repository-{number // 3}", "path": path.name, "copies": "1",
               "content": path.read_text(), "license": "mit"}  # fmt: skip
        lines.append(json.dumps({**row, "size": str(len(row["content"]))}) + "\n")
    return gzip.compress("".join(lines).encode())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """codeparrot and what the course filtered from it: files of pandas and others."""
    library = Path(sysconfig.get_paths()["stdlib"])
    of_pandas = sorted(Path(sysconfig.get_paths()["purelib"], "pandas", "core").rglob("*.py"))
    found = [path for path in of_pandas if 2_000 < path.stat().st_size < 60_000][:120]
    others = sorted((library / "asyncio").glob("*.py"))
    for name, paths in (
        ("codeparrot", found[:60] + others),
        ("codeparrot-ds-train", found[:90]),
        ("codeparrot-ds-valid", found[90:]),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file-000000000001.json.gz").write_bytes(rows(paths))
    shutil.copytree(library / "json", tmp_path / "code", ignore=shutil.ignore_patterns("__pyc*"))
    return tmp_path


def here(line: str) -> str:
    """A line of the table with the stand-ins of :func:`folder`."""
    local = {
        'kind = "codeparrot" ': 'kind = "codeparrot", paths = "codeparrot" ',
        'kind = "codeparrot-ds" ': 'kind = "codeparrot-ds", '
        'paths = ["codeparrot-ds-train", "codeparrot-ds-valid"] ',
        "~/code --minutes 5": "code --minutes 0.1",
    }
    for name, value in local.items():
        line = line.replace(name, value)
    return line


def test_each_step_of_the_course_does_what_the_table_says(folder: Path) -> None:
    if any(find_spec(name) is None for name in ("pandas", "transformers")):
        pytest.skip("needs codeling[dev]")
    scripts = sysconfig.get_paths()["scripts"]
    environment = {
        **os.environ,
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "HF_TOKEN": TOKEN,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    texts = {step: [here(line) for line in lines] for step, lines in steps()}

    def is_recipe(line: str) -> bool:
        return not is_command(line) and not is_python(line) and "=" in line

    every = [line for lines in texts.values() for line in lines if is_recipe(line)]
    filtered = every[: next(n for n, line in enumerate(every) if "codeparrot-ds" in line)]
    with hub_stand_in() as hub:
        environment["HF_ENDPOINT"] = hub.address

        def execute(words: list[str]) -> str:
            done = subprocess.run(
                words, cwd=folder, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{shlex.join(words)}\n{done.stderr[-3000:]}"
            return done.stdout + done.stderr

        def run(lines: list[str]) -> str:
            said = [execute(shlex.split(line)) for line in lines if is_command(line)]
            if python := [line for line in lines if is_python(line)]:
                said.append(execute([sys.executable, "-c", "\n".join(python)]))
            return "".join(said)

        write_recipe(folder / "my.toml", filtered, SMALLER)
        said = {}
        for step, lines in texts.items():
            if any("codeparrot-ds" in line for line in lines):
                check_filtered(folder)
                shutil.rmtree(folder / "runs")
                write_recipe(folder / "my.toml", every, SMALLER)
            said[step] = run(lines)
        assert "model.safetensors" in {Path(name).name for name in hub.files | hub.stored}
    check_said(folder, said)


def check_filtered(folder: Path) -> None:
    """The filter kept the files with one of its words."""
    import pyarrow.parquet as parquet

    tables = [parquet.read_table(path) for path in (folder / "runs/my/corpus").rglob("files-*")]
    texts = [text for table in tables for text in table["content"].to_pylist()]
    assert len(texts) > 10
    assert all(any(word in text for word in KEYWORDS) for text in texts)


def check_said(folder: Path, said: dict[str, str]) -> None:
    def of(words: str) -> str:
        (found,) = (text for step, text in said.items() if words in step)
        return found

    assert "repo_name" in of("look at an example")
    assert re.search(r"parameters +[\d,]+", of("model_size"))
    assert "runs/my" in of("`trainer.train()`")
    assert of("**Generation with a pipeline**").strip()
    assert of("the same `pipeline`").startswith("# create some data")
    bits, perplexity = map(float, of("perplexity").split())
    assert 0 < bits < 12
    assert perplexity > 1
    assert "unchanged" in of("interruption")
    assert sorted(path.name for path in (folder / "runs/my/checkpoints").iterdir())
    assert "next line" in of("fine-tune")
    assert json.loads((folder / "runs/code/adaptation.json").read_bytes())["num_lines"]
