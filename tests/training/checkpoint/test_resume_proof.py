"""Slow proofs, run by ``make proof``: exact resume by stopping and by killing, many times."""

import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from codeling.dataset import loader
from codeling.dataset.tokens import write_tokens
from codeling.errors import StoppedError
from codeling.manifest import sha256_file
from codeling.model.config import GPT2Config
from codeling.recipe import TrainingRecipe
from codeling.tokenizer.tokenizer import Tokenizer
from codeling.training import metrics
from codeling.training.checkpoint import state
from codeling.training.data import TrainingData

from ..runs import train

pytestmark = [pytest.mark.proof, pytest.mark.timeout(1200)]

STEPS, WINDOW_SEQUENCES = 40, 50
CONFIG = GPT2Config(512, 64, 2, 2, 32)
RECIPE = TrainingRecipe(
    steps=STEPS,
    tokens_per_step=6 * 64,
    micro_batch_size=4,
    adamw_lr=0.01,
    muon_lr=0.02,
    validation_tokens=256,
    sample_interval=0.5,
    checkpoint_minutes=1e-9,
    threads=1,
    device="cpu",
)
CLOCKS = {"seconds", "tokens_per_second", "mfu"}


@pytest.fixture(scope="module", autouse=True)
def small_windows() -> Iterator[None]:
    """What is packed anew at each start is small, as the model is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loader, "WINDOW_SEQUENCES", WINDOW_SEQUENCES)
        yield


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("proof")


@pytest.fixture(scope="module")
def inputs(tokenizer: Tokenizer, python_files: list[str], tokens: Path) -> TrainingData:
    folder = tokens
    train_split = write_tokens(python_files[:6], tokenizer, folder / "train.bin")
    validation = write_tokens(python_files[6:7], tokenizer, folder / "validation.bin")
    tokenizer.save(folder / "tokenizer.json")
    return TrainingData(tokenizer, train_split, validation)


@pytest.fixture(scope="module")
def whole(inputs: TrainingData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was not stopped."""
    folder = tmp_path_factory.mktemp("whole")
    train(RECIPE, CONFIG, inputs, folder)
    return folder


def outcome(folder: Path) -> dict[str, str]:
    """SHA-256 of the last weights and optimizer state, of the positions that all randomness is
    drawn from, and of all that was logged of the steps.
    """
    (last,) = state.checkpoints(folder / "checkpoints")[-1:]
    assert last.name == state.folder_name(STEPS)
    assert state.find_damage(last) is None
    lines = [*metrics.read(folder / "metrics.jsonl"), *metrics.read(folder / "samples.jsonl")]
    kept = [{k: v for k, v in line.items() if k not in CLOCKS} for line in lines]
    drawn_from = json.loads((last / state.STATE_FILE).read_bytes())
    del drawn_from["seconds"], drawn_from["plan"]["matrix_flops"]  # what clocks say
    return {
        "weights": sha256_file(last / state.MODEL_FILE),
        "optimizer": sha256_file(last / state.OPTIMIZER_FILE),
        "generators": hashlib.sha256(json.dumps(drawn_from).encode()).hexdigest(),
        "log": hashlib.sha256(json.dumps(kept).encode()).hexdigest(),
    }


def has_logged(steps: int, folder: Path) -> Callable[[], bool]:
    def should_stop() -> bool:
        lines = metrics.read(folder / "metrics.jsonl")
        return len([line for line in lines if line["kind"] == "step"]) >= steps

    return should_stop


def test_twenty_runs_stopped_at_random_steps_end_in_the_same_bits(
    inputs: TrainingData, whole: Path, tmp_path: Path
) -> None:
    generator = random.Random(0)
    for number in range(20):
        wanted = generator.randrange(1, STEPS)
        folder = tmp_path / str(number)

        with pytest.raises(StoppedError):
            train(RECIPE, CONFIG, inputs, folder, should_stop=has_logged(wanted, folder))
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
from codeling.training.data import TrainingData
from codeling.training.samples import PromptSampler
from codeling.training.trainer import train

tokens, folder, recipe, numbers = sys.argv[1:]
tokens = Path(tokens)
*shape, loader.WINDOW_SEQUENCES = map(int, numbers.split())
splits = (open_tokens(tokens / f"{split}.bin") for split in ("train", "validation"))
inputs = TrainingData(Tokenizer.load(tokens), *splits)
config = GPT2Config(*shape)
print("ready", flush=True)
sample = PromptSampler(inputs.tokenizer)
train(TrainingRecipe.model_validate_json(recipe), config, inputs, Path(folder), sample=sample)
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
    inputs: TrainingData, whole: Path, tmp_path: Path, tokens: Path
) -> None:
    numbers = f"{CONFIG.vocab_size} {CONFIG.context_length} 2 2 32 {WINDOW_SEQUENCES}"
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
        # It saves after every step, so at most the step under way is lost.
        logged = max((line["step"] for line in metrics.read(tmp_path / "metrics.jsonl")), default=0)
        newest, _ = state.newest_intact(tmp_path / "checkpoints")
        assert (state.load(newest).step if newest else 0) >= logged - 1
    assert kills >= 2
    assert outcome(tmp_path) == outcome(whole)


def test_two_hundred_kills_while_saving_leave_only_complete_checkpoints(
    tmp_path: Path, kill_while_saving: Callable[..., int]
) -> None:
    assert kill_while_saving(tmp_path, kills=200, seed=2) > 20
