"""Windows and macOS: only the sandbox needs modules or functions of POSIX."""

import subprocess
import sys
import sysconfig
from pathlib import Path

from codeling.model import weights
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2
from codeling.provenance.index import build
from codeling.tokenizer.tokenizer import Tokenizer

HIDE = """
import importlib, os, pathlib, pkgutil, signal, sys, warnings

warnings.simplefilter("ignore")
hidden = ("fcntl", "resource", "pwd", "grp", "termios", "pty", "tty", "syslog", "spwd", "crypt")
only_from = ONLY_FROM


class Hidden:
    def find_spec(self, name, path=None, target=None):
        frame = sys._getframe(1)
        while frame is not None and frame.f_globals["__name__"].startswith("importlib"):
            frame = frame.f_back
        if name in hidden and frame.f_globals["__name__"].startswith(only_from):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


for name in hidden:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Hidden())
"""

IMPORT_AND_TRAIN = """
import codeling
skipped = (
    "codeling.evaluation.sandbox.",
    "codeling.__main__",
    "codeling.serving.jupyter.jupyter_handlers",  # imported by JupyterLab's server alone
)
for found in pkgutil.walk_packages(codeling.__path__, "codeling."):
    if not found.name.startswith(skipped):
        importlib.import_module(found.name)
print("imported")

from codeling.cli import main
for name in ("killpg", "sched_getaffinity"):
    delattr(os, name)
sys.argv = ["codeling", "run", *sys.argv[1:]]
main()
"""

COMPLETE_AND_TRACE = """
import codeling
from codeling.provenance.index import Index

folder = pathlib.Path(sys.argv[1])
print(codeling.load(folder).complete("def f", max_new_tokens=2, max_repeats=0).finish_reason)
print(Index.load(folder).trace("x = 1"), sorted(set(hidden) & sys.modules.keys()))
"""

PROBE = """
import importlib.util

probe = importlib.util.module_from_spec(importlib.util.spec_from_loader("codeling_probe", None))
for name in hidden:
    try:
        exec(f"import {name}", vars(probe))
    except ModuleNotFoundError:
        print(name)
"""


def run(program: str, *arguments: str | Path, only_from: str) -> str:
    """Output of ``program`` in an interpreter that hides POSIX modules from modules whose name
    starts with ``only_from``."""
    hide = HIDE.replace("ONLY_FROM", repr(only_from))
    done = subprocess.run(
        [sys.executable, "-c", hide + program, *map(str, arguments)],
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_hidden_modules_cannot_be_imported() -> None:
    assert "fcntl\nresource\npwd\ngrp\ntermios\n" in run(PROBE, only_from="codeling")


def test_a_model_completes_and_an_index_traces_without_posix_modules(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    """Hidden from every package: nothing that is imported needs one."""
    model = GPT2(GPT2Config(tokenizer.vocab_size, 16, n_layer=1, n_head=1, n_embd=8))
    model.initialize(0)
    weights.save(tmp_path, model, end_of_text_id=tokenizer.end_of_text)
    tokenizer.save_for_hugging_face(tmp_path, 16)
    build([], tmp_path)
    reason, traced = run(COMPLETE_AND_TRACE, tmp_path, only_from="").splitlines()
    assert reason in ("length", "end_of_text")
    assert traced == "[] []"


def test_the_package_imports_and_a_model_trains_without_posix_modules(tmp_path: Path) -> None:
    """Includes locks, signals and the corpus; ``os`` loses its Linux and POSIX functions. Hidden
    only from codeling: third-party packages check ``sys.platform``, which is Linux here."""
    library = Path(sysconfig.get_paths()["stdlib"])
    recipe = tmp_path / "tiny.toml"
    names = ("json", "email", "concurrent")
    sources = ", ".join(f'{{kind = "folder", path = "{library / name}"}}' for name in names)
    recipe.write_text(
        f"[corpus]\nsources = [{sources}]\nvalidation_share = 0.2\ntest_share = 0.2\n"
        "[tokenizer]\nvocab_size = 400\n"
        "[model]\nn_layer = 1\nn_head = 1\nn_embd = 16\ncontext_length = 32\n"
        '[training]\nsteps = 2\ntokens_per_step = 64\nvalidation_tokens = 64\ndevice = "cpu"\n'
        "threads = 1\nwarm_start_steps = 1\n"
        "[evaluation]\ncompletions = 1\nmax_bytes = 1000\nmax_new_tokens = 2\n"
    )
    output = run(IMPORT_AND_TRAIN, recipe, "--out", tmp_path / "run", only_from="codeling")
    assert output.startswith("imported\n")
    assert "done: " in output
