"""Windows and macOS: only the sandbox needs modules or functions of POSIX."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import torch

from codeling.model import weights
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2
from codeling.tokenizer.tokenizer import Tokenizer

HIDE = """
import importlib, os, pathlib, pkgutil, signal, sys, warnings

warnings.simplefilter("ignore")
hidden = ("fcntl", "resource", "pwd", "grp", "termios", "pty", "tty", "syslog", "spwd", "crypt")
kept = {name for name, module in sys.modules.items() if module is not None}


class Hidden:
    # Only for codeling: third-party packages check sys.platform, which is Linux here.
    def find_spec(self, name, path=None, target=None):
        frame = sys._getframe(1)
        while frame is not None and frame.f_globals["__name__"].startswith("importlib"):
            frame = frame.f_back
        if name in hidden and frame.f_globals["__name__"].startswith("codeling"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


for name in hidden:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Hidden())
"""

IMPORT_ALL = """
import codeling
skipped = ("codeling.evaluation.sandbox.", "codeling.__main__")
for found in pkgutil.walk_packages(codeling.__path__, "codeling."):
    if not found.name.startswith(skipped):
        importlib.import_module(found.name)
"""


def run(program: str, *arguments: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", HIDE + program, *map(str, arguments)],
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_package_imports_without_posix_modules() -> None:
    run(IMPORT_ALL)


def test_hidden_modules_cannot_be_imported() -> None:
    program = (
        "spec = importlib.util.spec_from_loader('codeling_probe', loader=None)\n"
        "probe = importlib.util.module_from_spec(spec)\n"
        "for name in hidden:\n"
        "    try: exec(f'import {name}', vars(probe))\n"
        "    except ModuleNotFoundError: print(name)\n"
    )
    assert "fcntl\nresource\npwd\ngrp\ntermios\n" in run("import importlib.util\n" + program)


def test_a_model_completes_without_posix_modules(tokenizer: Tokenizer, tmp_path: Path) -> None:
    model = GPT2(GPT2Config(tokenizer.vocab_size, 64, 1, 2, 16))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3, generator=torch.Generator().manual_seed(1))
    weights.save(tmp_path, model, end_of_text_id=tokenizer.end_of_text)
    tokenizer.save_for_hugging_face(tmp_path, 64)
    program = (
        "import codeling\n"
        "print(codeling.load(sys.argv[1]).complete('def f():\\n', max_new_tokens=4).ids)\n"
    )
    assert run(program, tmp_path).startswith("(")


def test_a_model_trains_without_posix_functions(tmp_path: Path) -> None:
    """Includes locks, signals and the corpus; ``os`` loses its Linux and POSIX functions."""
    library = Path(sysconfig.get_paths()["stdlib"])
    recipe = tmp_path / "tiny.toml"
    names = ("json", "email", "concurrent")
    sources = ", ".join(f'{{kind = "folder", path = "{library / name}"}}' for name in names)
    recipe.write_text(
        f"[corpus]\nsources = [{sources}]\nvalidation_share = 0.2\ntest_share = 0.2\n"
        "[tokenizer]\nvocab_size = 400\n"
        "[model]\nn_layer = 1\nn_head = 1\nn_embd = 16\ncontext_length = 32\n"
        '[training]\nsteps = 2\ntokens_per_step = 64\nvalidation_tokens = 64\ndevice = "cpu"\n'
        "threads = 1\n[evaluation]\ncompletions = 1\nmax_bytes = 1000\nmax_new_tokens = 2\n"
    )
    program = (
        "from codeling.cli import main\n"
        "for name in ('killpg', 'sched_getaffinity'):\n"
        "    delattr(os, name)\n"
        "sys.argv = ['codeling', 'run', *sys.argv[1:]]\n"
        "main()\n"
    )
    assert "done: " in run(program, recipe, "--out", tmp_path / "run")
