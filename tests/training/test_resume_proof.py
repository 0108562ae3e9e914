"""Slow proofs, run by ``make proof``: exact resume by stopping and by killing, many times."""

import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from codeling.dataset import loader
from codeling.dataset.loader import Position
from codeling.dataset.tokens import write_tokens
from codeling.model.config import GPT2Config
from codeling.recipe import TrainingRecipe
from codeling.tokenizer.tokenizer import Tokenizer
from codeling.training import metrics, state
from codeling.training.trainer import Inputs, StoppedError, train

pytestmark = [pytest.mark.proof, pytest.mark.timeout(1200)]

STEPS, WINDOW_ROWS = 40, 50
CONFIG = GPT2Config(512, 64, 2, 2, 32)
RECIPE = TrainingRecipe(
    steps=STEPS,
    tokens_per_step=6 * 64,
    micro_batch_size=4,
    adamw_lr=0.01,
    muon_lr=0.02,
    validation_tokens=256,
    sample_interval=0.5,
    checkpoint_minutes=0.001,
    threads=1,
    device="cpu",
)
CLOCKS = {"seconds", "tokens_per_second", "mfu"}


@pytest.fixture(scope="module", autouse=True)
def small_windows() -> Iterator[None]:
    """What is packed anew at each start is small, as the model is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loader, "WINDOW_ROWS", WINDOW_ROWS)
        yield


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("proof")


@pytest.fixture(scope="module")
def inputs(tokenizer: Tokenizer, python_files: list[str], tokens: Path) -> Inputs:
    folder = tokens
    train_split = write_tokens(python_files[:6], tokenizer, folder / "train.bin")
    validation = write_tokens(python_files[6:7], tokenizer, folder / "validation.bin")
    tokenizer.save(folder / "tokenizer.json")
    return Inputs(tokenizer, train_split, validation)


@pytest.fixture(scope="module")
def whole(inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was not stopped."""
    folder = tmp_path_factory.mktemp("whole")
    train(RECIPE, CONFIG, inputs, folder)
    return folder


def outcome(folder: Path) -> tuple[bytes, bytes, list[object]]:
    """The last weights and optimizer state, byte for byte, and all that was logged of the steps."""
    (last,) = state.checkpoints(folder / "checkpoints")[-1:]
    assert last.name == state.folder_name(STEPS)
    assert state.find_damage(last) is None
    lines = [*metrics.read(folder / "metrics.jsonl"), *metrics.read(folder / "samples.jsonl")]
    return (
        (last / state.MODEL_FILE).read_bytes(),
        (last / state.OPTIMIZER_FILE).read_bytes(),
        [{k: v for k, v in line.items() if k not in CLOCKS} for line in lines],
    )


def test_twenty_runs_stopped_at_random_steps_end_in_the_same_bits(
    inputs: Inputs, whole: Path, tmp_path: Path
) -> None:
    generator = random.Random(0)
    for number in range(20):
        left = generator.randrange(1, STEPS)
        folder = tmp_path / str(number)

        def should_stop() -> bool:
            nonlocal left
            left -= 1
            return left == 0

        with pytest.raises(StoppedError):
            train(RECIPE, CONFIG, inputs, folder, should_stop=should_stop)
        torch.manual_seed(number)
        train(RECIPE, CONFIG, inputs, folder)
        assert outcome(folder) == outcome(whole), number
        shutil.rmtree(folder)


TRAINING = """
import sys
from pathlib import Path
from codeling.dataset import loader
from codeling.dataset.tokens import open_tokens
from codeling.model.config import GPT2Config
from codeling.recipe import TrainingRecipe
from codeling.tokenizer.tokenizer import Tokenizer
from codeling.training.trainer import Inputs, train

tokens, folder, recipe, numbers = sys.argv[1:]
tokens = Path(tokens)
*shape, loader.WINDOW_ROWS = map(int, numbers.split())
splits = (open_tokens(tokens / f"{split}.bin") for split in ("train", "validation"))
inputs = Inputs(Tokenizer.load(tokens), *splits)
config = GPT2Config(*shape)
print("ready", flush=True)
train(TrainingRecipe.model_validate_json(recipe), config, inputs, Path(folder))
"""

SAVING = """
import sys
from dataclasses import replace
from pathlib import Path
from codeling.training import state

folder = Path(sys.argv[1])
first = state.load(state.newest_whole(folder)[0])
print("ready", flush=True)
for step in range(first.step + 1, 10**6):
    state.save(folder, replace(first, step=step), keep_last=2)
"""


def killed_after(seconds: float, code: str, *arguments: str) -> int:
    """Run ``code`` and kill it so long after it was ready; its exit status."""
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            return process.wait(30)


def test_training_killed_at_random_moments_ends_in_the_same_bits(
    inputs: Inputs, whole: Path, tmp_path: Path, tokens: Path
) -> None:
    numbers = f"{CONFIG.vocab_size} {CONFIG.context_length} 2 2 32 {WINDOW_ROWS}"
    generator, kills = random.Random(1), 0
    for _ in range(60):
        arguments = (str(tokens), str(tmp_path), RECIPE.model_dump_json(), numbers)
        # Longer from time to time, so that it comes to its end on a slow machine too.
        status = killed_after(generator.uniform(0.0, 2.0) + kills / 10, TRAINING, *arguments)
        found = state.checkpoints(tmp_path / "checkpoints")
        assert [state.find_damage(path) for path in found] == [None] * len(found)
        if status == 0:
            break
        assert status == -signal.SIGKILL
        kills += 1
    assert kills >= 2
    assert outcome(tmp_path) == outcome(whole)


def test_saving_killed_at_random_moments_leaves_only_whole_checkpoints(tmp_path: Path) -> None:
    generator = random.Random(2)
    weights = {f"h.{n}": torch.full((100, 100), float(n)) for n in range(20)}
    begun = state.TrainingState(
        identity="",
        step=0,
        seconds=0.0,
        position=Position(0, 0, 0, 0),
        plan=state.Plan(1, 1, 1, 1.0),
        model=weights,
        optimizer=weights,
    )
    state.save(tmp_path, begun, keep_last=2)
    partial, newest_step = 0, 0
    started = time.monotonic()
    for _ in range(20):
        assert killed_after(generator.uniform(0.0, 0.5), SAVING, str(tmp_path)) == -signal.SIGKILL
        partial += any(tmp_path.glob("*.partial"))
        found = state.checkpoints(tmp_path)
        assert 1 <= len(found) <= 3  # the last one is there before the oldest is removed
        assert [state.find_damage(path) for path in found] == [None] * len(found)
        newest, complaints = state.newest_whole(tmp_path)
        assert newest == found[-1]
        assert complaints == []
        loaded = state.load(newest)
        assert all(torch.equal(loaded.model[name], weights[name]) for name in weights)
        assert loaded.step >= newest_step
        newest_step = loaded.step
    assert newest_step > 0
    assert partial > 0, f"no kill fell into a save in {time.monotonic() - started:.0f} seconds"
