"""Executes the documented commands in a folder with the files that they name.

Commands that use a run folder are executed in full. A command that would build one is executed up
to its first stage: its recipe is read and resolved, and a finished run takes the place of the
result.
"""

import base64
import gzip
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from codeling.cli.app import app
from codeling.errors import SandboxError
from codeling.recipe import Recipe
from codeling.training.run_training import train_run

ROOT = Path(__file__).parent.parent

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

PROBLEMS = [
    {
        "task_id": f"HumanEval/{number}",
        "prompt": f"def add_{number}(a):\n",
        "entry_point": f"add_{number}",
        "test": f"def check(candidate):\n    assert candidate(1) == {1 + number}\n",
        "canonical_solution": f"    return a + {number}\n",
    }
    for number in range(2)
]


OUTPUTS = {
    "make demo": r"codeling demo",
    "make test": r"pytest",
    "make course": r"jupytext",
    ". .venv/bin/activate": r"activated",
    "codeling complete runs/demo -n": r"(?s)# completion 1 of 5.*# completion 5 of 5",
    "codeling complete": r"",
    "codeling trace": r"json",
    "codeling evaluate runs/demo --suite humaneval": r"pass@1",
    "codeling demo": r"(?s)test bits per byte.*report .*runs/.*/report.html.*done: runs/",
    "codeling doctor": r"sandbox",
    "codeling adapt": r"next line .* points.*\nwith memory .* points.*\nthis project",
    "codeling inspect": r"parameters|\"sizes\"",
    "codeling tokenizer compare": r"(?s)lossless.*gpt2.*cl100k",
    "codeling run": r"(parameters +[\d,]+ |done: runs/)",
    "codeling corpus": r"done: runs/my",
    "codeling course": r"the lessons are in course",
    "codeling": r"",
    "python -m benchmarks.": r"argparse",
    "pip install": r"",
    "torchrun": r"done: ",
}
"""Prefix of a command -> pattern of its standard output; the first match counts."""


def commands(text: str) -> list[str]:
    """Lines of ``console`` blocks that begin with ``$``, with continuation lines joined.

    Then the benchmarks named within a line.
    """
    inline = re.findall(r"`(python -m benchmarks\.[^`\n]+)`", FENCED.sub("", text))
    blocks = [code for language, code in FENCED.findall(text) if language == "console"]
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    assert all(line.startswith("$ ") for line in lines), "a console block shows commands alone"
    return [line.removeprefix("$ ") for line in lines] + inline


def blocks(text: str, language: str) -> list[str]:
    """Fenced code blocks in ``language``."""
    return [code for found, code in FENCED.findall(text) if found == language]


def make_folder(folder: Path, run_folder: Path, readme: str) -> Path:
    """A folder with the files and the run that the commands of the documents name."""
    shutil.copytree(run_folder, folder / "runs" / "demo")
    for name in ("recipes", "benchmarks"):
        (folder / name).symlink_to(ROOT / name)
    package = Path("src", "codeling", "tokenizer")  # little of `src`, which tokenizers encode
    shutil.copytree(ROOT / package, folder / package)
    (folder / "my.toml").write_text("".join(blocks(readme, "toml")), encoding="utf-8")
    (folder / "recipe.toml").write_text('[model]\nsize = "nano"\n', encoding="utf-8")
    code = run_folder.parent / "json" / "encoder.py"
    shutil.copy(code, folder / "my_file.py")
    (folder / "home" / "code").mkdir(parents=True)
    for path in code.parent.glob("*.py"):
        shutil.copy(path, folder / "home" / "code")
    lines = "".join(json.dumps(problem) + "\n" for problem in PROBLEMS)
    (folder / "HumanEval.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (folder / "canaries.jsonl").write_text('{"prefix": "key = ", "secret": "12345"}\n')
    shutil.copy(run_folder / "tokenizer" / "tokenizer.json", folder / "gpt2.json")
    ranks = (f"{base64.b64encode(bytes([n])).decode()} {n}\n" for n in range(256))
    (folder / "cl100k_base.tiktoken").write_text("".join(ranks))
    return folder


@dataclass
class Shell:
    """Executes documented commands in one folder."""

    folder: Path
    run_folder: Path
    monkeypatch: pytest.MonkeyPatch
    built: list[tuple[Recipe, Path]] = field(default_factory=list)
    """Recipe and run folder of every command that would have built a run."""

    def __post_init__(self) -> None:
        self.monkeypatch.chdir(self.folder)
        self.monkeypatch.setenv("HOME", str(self.folder / "home"))
        self.monkeypatch.setattr("codeling.run.run", self._build)
        self.monkeypatch.setattr("codeling.cli.extras.require", lambda *modules: None)
        self.monkeypatch.setattr("codeling.cli.course.open_notebook", lambda *where: None)
        self.monkeypatch.setattr("codeling.adaptation.adapting.train_run", self._train_briefly)
        self.monkeypatch.setattr("codeling.adaptation.gains.NUM_LINES", 4)
        self.monkeypatch.setattr("codeling.adaptation.gains.MAX_BYTES", 2000)
        self.monkeypatch.setattr("codeling.adaptation.adapting.MAX_BYTES", 3000)

    def _build(self, recipe: Recipe, folder: Path, **options: Any) -> dict[str, Any]:
        self.built.append((recipe.resolved(), folder))
        if not folder.exists():
            shutil.copytree(self.run_folder, folder)
        return {"folder": str(folder), "stages": {}}

    def _train_briefly(self, recipe: Recipe, *arguments: Any) -> Any:
        brief = {"minutes": None, "steps": 2}
        training = recipe.training.model_copy(update=brief)
        return train_run(recipe.model_copy(update={"training": training}), *arguments)

    def measure_nothing(self) -> None:
        """Makes ``codeling evaluate`` check its options without measuring a suite."""

        def evaluate_suites(model: object, suites: Any, *_: Any, **__: Any) -> Iterator[Any]:
            assert suites
            return iter(())

        self.monkeypatch.setattr("codeling.evaluation.harness.evaluate_suites", evaluate_suites)

    def output(self, command: str) -> str:
        """Standard output of a command."""
        text = ""
        for part in command.split(" | "):
            text = self._one(shlex.split(part, comments=True), text)
        return text

    def _one(self, words: list[str], stdin: str) -> str:
        if words[0] == "torchrun":
            words = ["codeling", *words[words.index("codeling") + 1 :]]
        if words[0] == "make":
            return _printed(["make", "--dry-run", *words[1:]], ROOT)
        if words[0] == "python":
            return _options_of_benchmark(words)
        if words[:2] == ["pip", "install"]:
            return _check_extras(words[2])
        if words == [".", ".venv/bin/activate"]:
            return "activated"
        assert words[0] == "codeling", f"{words[0]} is not a command of this project"
        try:
            result = CliRunner().invoke(app, words[1:], input=stdin, catch_exceptions=False)
        except SandboxError as error:
            pytest.skip(str(error))
        assert result.exit_code == 0, result.stderr
        return result.stdout


def _printed(words: list[str], folder: Path) -> str:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _options_of_benchmark(words: list[str]) -> str:
    """Checks that the benchmark exists and accepts the options, without running it for minutes."""
    assert words[1] == "-m", "benchmarks run as modules"
    source = ROOT.joinpath(*words[2].split(".")).with_suffix(".py").read_text(encoding="utf-8")
    runs = (ROOT / "benchmarks" / "runs.py").read_text(encoding="utf-8")
    for word in words[3:]:
        if word.startswith("--"):
            assert f'"{word}"' in source + runs, f"{words[2]} has no option {word}"
    return source


def _check_extras(requirement: str) -> str:
    if requirement in ("-e", "--editable"):
        return requirement
    name, _, extras = requirement.rstrip("]").partition("[")
    assert name == "codeling"
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for extra in extras.split(","):
        assert f"\n{extra} = [" in text, f"pyproject.toml has no extra {extra}"
    return requirement
