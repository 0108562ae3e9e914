"""A run stopped anywhere and resumed equals an uninterrupted run, to the bit."""

import errno
import math
import random
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from codeling.errors import StoppedError, StorageError
from codeling.training.checkpoint import state
from codeling.training.data import TrainingData

from .runs import (
    CONFIG,
    RECIPE,
    STEPS,
    Notes,
    assert_ended_the_same,
    changed,
    last,
    log,
    logged,
    stop_at,
    train,
)

pytestmark = pytest.mark.usefixtures("small_and_quick")


@pytest.mark.parametrize("stops", [[7], [2, 1, 3, 1], [1] * (STEPS - 1)], ids=str)
def test_stopped_and_resumed_ends_in_the_same_bits(
    inputs: TrainingData, whole: Path, tmp_path: Path, stops: list[int]
) -> None:
    for steps in stops:
        random.seed(steps)
        torch.manual_seed(steps)  # nothing depends on what ran before
        stop_at(steps, RECIPE, inputs, tmp_path)
    result = train(RECIPE, CONFIG, inputs, tmp_path)
    assert result.checkpoint == last(tmp_path)
    assert_ended_the_same(tmp_path, whole)


@pytest.mark.parametrize(
    "values",
    [
        {"fim_rate": 0.0, "micro_batch_size": 4},
        {"fim_rate": 1.0, "micro_batch_size": 1},
        {"precision": "bf16", "seed": 2**40},
        {"z_loss": 1e-3, "key_words": ("def", "import os")},
        {"warm_start_steps": 4},
        {
            "intra_document_masking": True,
            "activation_checkpointing": True,
            "fim_rate": 0.0,
        },
    ],
    ids=str,
)
def test_runs_with_other_settings_end_in_the_same_bits(
    inputs: TrainingData, tmp_path: Path, values: dict[str, Any]
) -> None:
    recipe = changed(RECIPE, **values)
    train(recipe, CONFIG, inputs, tmp_path / "whole")
    stop_at(5, recipe, inputs, tmp_path / "stopped")
    train(recipe, CONFIG, inputs, tmp_path / "stopped")
    assert_ended_the_same(tmp_path / "stopped", tmp_path / "whole")


def test_a_stop_between_two_passes_leaves_the_step_for_later(
    inputs: TrainingData, whole: Path, tmp_path: Path
) -> None:
    asked = 0

    def should_stop() -> bool:  # asked between the passes of a step, and after it
        nonlocal asked
        asked += 1
        return asked == 7

    with pytest.raises(StoppedError, match="stopped at step 3"):
        train(RECIPE, CONFIG, inputs, tmp_path, should_stop=should_stop)
    assert logged(tmp_path) == 3
    train(RECIPE, CONFIG, inputs, tmp_path)
    assert_ended_the_same(tmp_path, whole)


@pytest.mark.parametrize("step", [3, STEPS])
def test_a_stop_during_validation_loses_nothing(
    inputs: TrainingData, whole: Path, tmp_path: Path, step: int
) -> None:
    stop_at(step, RECIPE, inputs, tmp_path)
    measured = [line["step"] for line in log(tmp_path) if line.get("kind") == "validation"]
    assert measured == [3, 6, 9, 12][: (step - 1) // 3]  # not the one at the stop
    result = train(RECIPE, CONFIG, inputs, tmp_path)
    assert math.isfinite(result.bits_per_byte)
    assert_ended_the_same(tmp_path, whole)


def test_checkpoints_of_keep_every_are_made_and_stay(
    inputs: TrainingData, whole: Path, tmp_path: Path
) -> None:
    train(changed(RECIPE, keep_every=5), CONFIG, inputs, tmp_path)
    found = [path.name for path in state.checkpoints(tmp_path / "checkpoints")]
    assert found == [state.folder_name(step) for step in (0, 5, 10, 12)]
    assert_ended_the_same(tmp_path, whole)


def test_a_full_disk_loses_only_the_steps_after_the_last_checkpoint(
    inputs: TrainingData, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = changed(RECIPE, checkpoint_minutes=1e-9)
    with monkeypatch.context() as patch:
        calls = iter(range(100))
        original = safetensors.torch.save_file

        def save_file(*arguments: Any) -> None:
            if next(calls) >= 13:  # the optimizer's file after six steps
                raise OSError(errno.ENOSPC, "No space left on device")
            original(*arguments)

        patch.setattr("safetensors.torch.save_file", save_file)
        with pytest.raises(StorageError, match="no space left on the disk; free some") as caught:
            train(recipe, CONFIG, inputs, tmp_path)
    assert "\n" not in str(caught.value)
    newest, complaints = state.newest_intact(tmp_path / "checkpoints")
    assert (newest, complaints) == (tmp_path / "checkpoints" / state.folder_name(5), [])
    train(recipe, CONFIG, inputs, tmp_path)
    assert_ended_the_same(tmp_path, whole)


def test_checkpoints_of_another_run_are_not_continued(
    inputs: TrainingData, whole: Path, tmp_path: Path
) -> None:
    stop_at(5, changed(RECIPE, seed=4), inputs, tmp_path, identity="other")
    notes = Notes()
    train(RECIPE, CONFIG, inputs, tmp_path, progress=notes)
    assert any("belong to other settings; training starts again" in line for line in notes.lines)
    assert_ended_the_same(tmp_path, whole)


@pytest.mark.parametrize("num_damaged", [1, 2, 3])
def test_a_damaged_checkpoint_costs_only_time(
    inputs: TrainingData, whole: Path, tmp_path: Path, num_damaged: int
) -> None:
    recipe = changed(RECIPE, checkpoint_minutes=1e-9, keep_last=3)
    stop_at(8, recipe, inputs, tmp_path)
    found = state.checkpoints(tmp_path / "checkpoints")
    assert [path.name for path in found] == [state.folder_name(step) for step in (6, 7, 8)]
    for path in found[3 - num_damaged :]:
        (path / state.MODEL_FILE).write_bytes((path / state.MODEL_FILE).read_bytes()[:-1])
    notes = Notes()
    train(recipe, CONFIG, inputs, tmp_path, progress=notes)
    assert sum("is damaged" in line for line in notes.lines) == num_damaged
    continued = [line for line in notes.lines if line.startswith("continuing from step")]
    assert continued == (
        [f"continuing from step {8 - num_damaged} of 12"] if num_damaged < 3 else []
    )
    assert_ended_the_same(tmp_path, whole)


def test_a_finished_run_is_not_done_again(
    inputs: TrainingData, whole: Path, tmp_path: Path
) -> None:
    train(RECIPE, CONFIG, inputs, tmp_path)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "checkpoints").rglob("*")}
    result = train(RECIPE, CONFIG, inputs, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert set((tmp_path / "checkpoints").rglob("*")) == set(files)
    assert result.checkpoint == last(tmp_path)
    measured = [line for line in log(whole) if line.get("kind") == "validation"]
    assert result.bits_per_byte == measured[-1]["bits_per_byte"]
    assert_ended_the_same(tmp_path, whole)


def test_lines_logged_after_the_checkpoint_appear_once(
    inputs: TrainingData, whole: Path, tmp_path: Path
) -> None:
    # A killed process leaves lines of steps that are done again, the last of them torn.
    stop_at(4, RECIPE, inputs, tmp_path)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "step", "step": 5, "loss": 1.0}\n{"kind": "step", "st')
    train(RECIPE, CONFIG, inputs, tmp_path)
    assert_ended_the_same(tmp_path, whole)
