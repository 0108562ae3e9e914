"""An adaptation killed at any moment: the same call ends in the same weights, and nothing that is
half-written is taken for a model.

Imports take longer than the small adaptation, so all but the proof fork it. It kills itself before
the N-th change of a file.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import sysconfig
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import codeling
from codeling.adaptation import adapting, gains
from codeling.dataset import loader
from codeling.errors import CodelingError
from codeling.manifest import sha256_file
from codeling.recipe import Recipe
from codeling.run_folder import ADAPTATION, RunFolder

from ..forking import Fork, prepare

COMMAND = Path(sysconfig.get_paths()["scripts"]) / "codeling"
CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.chmod")
"""Audit events of changes of files, beside writing to one."""


class Adaptations:
    """Adapts in a forked process, which is killed before a change of a file."""

    def __init__(self, recipe: Recipe, project: Path, whole: Path) -> None:
        self._inputs = recipe, project
        prepare(adapt, *self._inputs, whole)
        counted = whole.with_suffix(".counted")
        assert not self.is_killed(0, whole.with_name("counted"), counted)
        self.num_changes = int(counted.read_text())
        """Of an adaptation from its start to its end."""

    def is_killed(self, change: int, folder: Path, counted: Path | None = None) -> bool:
        """Adapt in ``folder``; whether it made as many changes as ``change``, and was killed."""
        errors = folder.with_suffix(".errors")
        with Fork(adapt_until, change, counted, *self._inputs, folder, errors=errors) as process:
            code = process.wait()
        assert code in (0, -9), errors.read_text()
        return code != 0


def adapt(recipe: Recipe, project: Path, folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gains, "NUM_LINES", 8)
        patch.setattr(loader, "WINDOW_SEQUENCES", 11)
        for module in (gains, adapting):
            patch.setattr(module, "MAX_BYTES", 1000)
        adapting.adapt(recipe, project, folder)


def adapt_until(
    last: int, counted: Path | None, recipe: Recipe, project: Path, folder: Path
) -> None:
    """Adapt until the change ``last`` of a file; write their number to ``counted``."""
    seen = 0

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (writes or event in CHANGES) and str(arguments[0]).startswith(str(folder)):
            seen += 1
            if seen == last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    adapt(recipe, project, folder)
    if counted is not None:
        counted.write_text(str(seen))


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """The folder of the uninterrupted adaptation."""
    return tmp_path / "whole"


@pytest.fixture
def adaptations(recipe: Recipe, project: Path, whole: Path) -> Adaptations:
    return Adaptations(recipe, project, whole)


def check_nothing_is_half(folder: Path, whole: Path, base: RunFolder) -> None:
    """What is there after a kill is refused, or is the model of an uninterrupted adaptation."""
    weights = folder / "model" / "model.safetensors"
    with suppress(CodelingError):
        codeling.load(folder)
        assert sha256_file(weights) == sha256_file(whole / "model" / "model.safetensors")
    if (folder / ADAPTATION).exists():
        assert weights.exists()
        memory = RunFolder(folder).memory / "corpus.safetensors"
        assert memory.read_bytes() == (base.memory / "corpus.safetensors").read_bytes()


def check_ends(folder: Path, whole: Path) -> None:
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (folder / "model" / name).read_bytes() == (whole / "model" / name).read_bytes()
    assert list(folder.rglob("*.partial")) == []


def test_killed_before_any_change_of_a_file_it_ends_the_same(
    adaptations: Adaptations, whole: Path, base: RunFolder, tmp_path: Path
) -> None:
    last = adaptations.num_changes
    assert last > 50
    drawn, num_kills = random.Random(0), 0
    for first in (8, last - 6):  # 8: before.json is not whole
        folder = tmp_path / f"killed-{first}"
        for change in (first, drawn.randint(1, last), drawn.randint(1, last)):
            if not adaptations.is_killed(change, folder):
                break
            num_kills += 1
            check_nothing_is_half(folder, whole, base)
        else:
            assert not adaptations.is_killed(last + 1, folder)
        check_ends(folder, whole)
    assert num_kills > 3


@pytest.mark.proof
def test_the_command_killed_at_random_moments_ends_the_same(
    base: RunFolder, project: Path, tmp_path: Path
) -> None:
    """The whole command, and from 2 s on, before which only imports run."""
    command = [sys.executable, str(COMMAND), "adapt", str(base.path), str(project), "--set"]
    command += [
        "training.steps=300",
        "--set",
        "training.threads=1",
        "--set",
        'training.device="cpu"',
    ]
    command += ["--set", "training.checkpoint_minutes=0.005"]

    def start(folder: Path) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [*command, "--out", str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    whole, folder = tmp_path / "whole", tmp_path / "killed"
    assert start(whole).wait(200) == 0
    drawn, num_kills, num_ended = random.Random(1), 0, 0
    while num_kills < 20:
        process = start(folder)
        with suppress(subprocess.TimeoutExpired):
            process.wait(drawn.uniform(2, 12))
        process.kill()
        if process.wait() == 0:
            num_ended += 1
            check_ends(folder, whole)
            shutil.rmtree(folder)
        else:
            num_kills += 1
            check_nothing_is_half(folder, whole, base)
    assert start(folder).wait(200) == 0
    check_ends(folder, whole)
