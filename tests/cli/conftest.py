"""Fixtures of the command line's tests: a recipe that runs in seconds, its finished run folder, and
two ways to call ``codeling``: in this process and in its own process."""

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from codeling import cli
from codeling.cli.signals import HANDLER, SignalHandler

from ..conftest import MakeOnce

RECIPE = """
[corpus]
sources = [{sources}]
validation_share = 0.2
test_share = 0.2
[tokenizer]
vocab_size = 600
[model]
n_layer = 2
n_head = 2
n_embd = 64
context_length = 64
[training]
steps = 30
warm_start_steps = 10
tokens_per_step = 512
validation_tokens = 2048
validation_interval = 0.25
sample_interval = 0.5
checkpoint_minutes = 0.005
threads = 1
device = "cpu"
[evaluation]
completions = 4
max_bytes = 20000
max_new_tokens = 16
"""
COMMAND = Path(sysconfig.get_paths()["scripts"]) / "codeling"


@pytest.fixture(autouse=True)
def signals_as_they_were(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Restore the signal handlers that ``main`` installs, and keep its watcher thread off."""
    monkeypatch.setattr(SignalHandler, "_watch", lambda self, reader: None)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    signal.set_wakeup_fd(-1)
    for each in HANDLER._sockets or ():
        each.close()
    HANDLER._sockets = None
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _share_the_corpus_process(corpus_process: None) -> None:
    pass


@dataclass(frozen=True)
class Answer:
    """Exit code and output of a call of ``codeling``."""

    code: int
    out: str
    err: str


Call = Callable[..., Answer]


def write_recipe(path: Path, *sources: Path) -> Path:
    """Write a tiny recipe with the folders ``sources``."""
    tables = ", ".join(f'{{kind = "folder", path = "{source}"}}' for source in sources)
    path.write_text(RECIPE.replace("{sources}", tables))
    return path


@pytest.fixture(scope="session")
def recipe_file(make_once: MakeOnce) -> Path:
    """The tiny recipe over three small packages of the standard library."""

    def fill(root: Path) -> None:
        library = Path(sysconfig.get_paths()["stdlib"])
        without = shutil.ignore_patterns("__pycache__")
        names = ("concurrent", "json", "logging")
        for name in names:
            shutil.copytree(library / name, root / name, ignore=without)
        write_recipe(root / "tiny.toml", *(root / name for name in names))

    return make_once("tiny", fill) / "tiny.toml"


@pytest.fixture(scope="session")
def command() -> Call:
    """``codeling`` in its own process."""

    def call(*arguments: str | Path, timeout: float = 120, **variables: str) -> Answer:
        done = subprocess.run(
            [sys.executable, str(COMMAND), *map(str, arguments)],
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **variables},
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture(scope="session")
def finished(
    recipe_file: Path,
    corpus_process: None,
    make_once: MakeOnce,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The run folder of the tiny recipe, made once. Tests must not change it."""
    from codeling.recipe import read_recipe
    from codeling.run import run

    made = make_once("finished", lambda root: run(read_recipe(recipe_file), root / "run"))
    return Path(shutil.copytree(made / "run", tmp_path_factory.mktemp("finished") / "run"))


@pytest.fixture
def demo_arguments(finished: Path, recipe_file: Path, tmp_path: Path) -> list[str]:
    """Arguments of a finished demo, on a copy of the tiny recipe's run folder."""
    from codeling.recipe import read_recipe

    values = read_recipe(recipe_file).model_dump(mode="json", exclude_unset=True)
    overrides = [
        ["--set", f"{table}.{key}={json.dumps(value).replace('{', '{ ').replace(': ', ' = ')}"]
        for table, section in values.items()
        for key, value in section.items()
    ]
    folder = shutil.copytree(finished, tmp_path / "a demo")
    sources = ", ".join(
        f'{{ kind = "folder", path = "{source["path"]}" }}'
        for source in values["corpus"]["sources"]
    )
    chosen = [pair for pair in overrides if "corpus.sources" not in pair[1]]
    flat = [word for pair in chosen for word in pair]
    return ["demo", "--out", str(folder), "--set", f"corpus.sources=[{sources}]", *flat]


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """``codeling`` in this process, which is faster."""

    def call(*arguments: str | Path) -> Answer:
        monkeypatch.setattr(sys, "argv", ["codeling", *map(str, arguments)])
        # click derives the program's name from this; pytest may have been started as a module.
        monkeypatch.setattr(sys.modules["__main__"], "__package__", "", raising=False)
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capfd.readouterr()
        assert isinstance(caught.value.code, int)
        return Answer(caught.value.code, out, err)

    return call
