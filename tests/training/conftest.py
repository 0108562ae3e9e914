"""Shared fixtures: an uninterrupted small run, and a saving process killed at random moments."""

import random
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from codeling.dataset import loader
from codeling.dataset.loader import Position
from codeling.dataset.tokens import write_tokens
from codeling.tokenizer.tokenizer import Tokenizer
from codeling.training import samples, start
from codeling.training.checkpoint import state
from codeling.training.checkpoint.state import Plan, TrainingState
from codeling.training.data import TrainingData
from codeling.training.planning import plan
from codeling.training.schedule import Schedule

from ..forking import Fork
from .runs import CONFIG, RECIPE, train


def _save_until_killed(folder: Path) -> None:
    newest, _ = state.newest_intact(folder)
    assert newest is not None
    first = state.load(newest)
    (folder / "started").touch()
    for step in range(first.step + 1, 10**9):
        state.save(folder, replace(first, step=step), keep_last=2)
        (folder / "finished").write_text(str(step))


def _kill_while_saving(folder: Path, *, kills: int, seed: int) -> int:
    """Kill a process that saves one checkpoint after another, ``kills`` times.

    After each kill every folder with a checkpoint's name is complete, the newest loads, and no
    completed save is lost. Return the number of kills during a save.
    """
    weights = {f"h.{n}": torch.full((100, 100), float(n)) for n in range(20)}
    plan, position = Plan(Schedule(1, 1), 1, 1, 1.0), Position(0, 0, 0, 0)
    began = time.monotonic()
    state.save(folder, TrainingState("", 0, 0.0, position, plan, weights, weights), keep_last=2)
    span = 5 * (time.monotonic() - began)  # as long as some saves take on this machine
    generator, partial, num_kept = random.Random(seed), 0, 1
    started, errors = folder / "started", folder / "errors"
    for _ in range(kills):
        with Fork(_save_until_killed, folder, errors=errors) as process:
            while not started.exists():
                assert process.poll() is None, errors.read_text()
                time.sleep(0.001)
            time.sleep(generator.uniform(0.0, span))
            span *= 1.0 if (folder / "finished").exists() else 1.5
        assert process.poll() == -signal.SIGKILL, errors.read_text()
        started.unlink()
        partial += any(folder.glob("*.partial"))
        num_kept = _check(folder, weights, max(2, num_kept) + 1)
    assert state.load(state.checkpoints(folder)[-1]).step > 0
    return partial


def _check(folder: Path, weights: dict[str, torch.Tensor], most: int) -> int:
    """Number of checkpoints; a kill before the oldest is removed may leave one more."""
    found = state.checkpoints(folder)
    assert 1 <= len(found) <= most
    assert [state.find_damage(path) for path in found] == [None] * len(found)
    newest, complaints = state.newest_intact(folder)
    assert newest == found[-1]
    assert complaints == []
    loaded = state.load(newest)
    assert all(torch.equal(loaded.model[name], weights[name]) for name in weights)
    finished = folder / "finished"
    if finished.exists() and (text := finished.read_text()):
        assert loaded.step >= int(text)
    return len(found)


@pytest.fixture
def kill_while_saving() -> Callable[..., int]:
    return _kill_while_saving


def _make_small_and_quick(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(loader, "WINDOW_SEQUENCES", 11)
    patch.setattr(samples, "_MAX_NEW_TOKENS", 8)
    for module in (plan, start):  # measuring takes longer than a small run
        patch.setattr(module, "matrix_rate", lambda machine: 1e12)


@pytest.fixture
def small_and_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    _make_small_and_quick(monkeypatch)


@pytest.fixture(scope="session")
def inputs(
    tokenizer: Tokenizer, python_files: list[str], tmp_path_factory: pytest.TempPathFactory
) -> TrainingData:
    folder = tmp_path_factory.mktemp("tokens")
    train_split = write_tokens(python_files[:4], tokenizer, folder / "train.bin")
    validation = write_tokens(python_files[4:5], tokenizer, folder / "validation.bin")
    return TrainingData(tokenizer, train_split, validation)


@pytest.fixture(scope="session")
def whole(inputs: TrainingData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        _make_small_and_quick(patch)
        train(RECIPE, CONFIG, inputs, folder)
    return folder
