"""An adaptation killed at any moment: the same call ends in the same weights, and nothing that is
half-written is taken for a model.

Imports take longer than the small adaptation, so all but the proof fork it from a process that has
done one. It kills itself before the N-th change of a file.
"""

import random
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import codeling
from codeling.errors import CodelingError
from codeling.manifest import sha256_file
from codeling.recipe import Recipe
from codeling.run_folder import ADAPTATION, RunFolder

COMMAND = Path(sysconfig.get_paths()["scripts"]) / "codeling"
PREPARED = """
import gc, os, signal, sys
from pathlib import Path

import codeling.adaptation.adapting as adapting
from codeling.adaptation import gains
from codeling.dataset import loader
from codeling.recipe import parse_recipe

gains.NUM_LINES, loader.WINDOW_SEQUENCES = 8, 11
gains.MAX_BYTES = adapting.MAX_BYTES = 1000
text, project, folder = sys.argv[1:]
CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.chmod")
seen, last = 0, 0

def count(event, arguments):
    global seen
    is_change = event in CHANGES or event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if is_change and str(arguments[0]).startswith(folder):
        seen += 1
        if seen == last:
            os.kill(os.getpid(), signal.SIGKILL)

def adapt():
    adapting.adapt(parse_recipe(text), Path(project), Path(folder))

sys.addaudithook(count)
adapt()  # also compiles what forks need
print(seen, flush=True)
gc.freeze()
for line in sys.stdin:
    change, folder = line.split()
    seen, last = 0, int(change)
    child = os.fork()
    if child == 0:
        adapt()
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Adaptations:
    """Adapts in a forked process, which is killed before a change of a file."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.num_changes = self._read()
        """Of an adaptation from its start to its end."""

    def is_killed(self, change: int, folder: Path) -> bool:
        """Adapt in ``folder``; whether it made as many changes as ``change``, and was killed."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{change} {folder}\n")
        self._process.stdin.flush()
        code = self._read()
        assert code in (0, -9)
        return code != 0

    def _read(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """The folder of the uninterrupted adaptation."""
    return tmp_path / "whole"


@pytest.fixture
def adaptations(recipe: Recipe, project: Path, whole: Path) -> Iterator[Adaptations]:
    training = recipe.training.model_dump(exclude_unset=True)
    text = "\n".join(["[training]", *(f"{key} = {value!r}" for key, value in training.items())])
    with subprocess.Popen(
        [sys.executable, "-c", PREPARED, text, str(project), str(whole)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        yield Adaptations(process)
        assert process.stdin is not None
        process.stdin.close()


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
