"""The plan of a run: from the recipe or from measured time; a resumed run keeps it."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from codeling.errors import StoppedError, TrainingError
from codeling.recipe import TrainingRecipe
from codeling.training import clock, start, trainer
from codeling.training.checkpoint import state
from codeling.training.data import TrainingData
from codeling.training.planning import plan
from codeling.training.train_module import TrainModule

from ..runs import CONFIG, RECIPE, Notes, changed, digests, losses, stop_at, train

pytestmark = pytest.mark.usefixtures("small_and_quick")


@pytest.fixture
def slow_clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that moves by a tenth of a second at each look, in training alone."""
    now = [0.0]

    def look() -> float:
        now[0] += 0.1
        return now[0]

    monkeypatch.setattr(clock, "now", look)
    return now


def minutes(value: float) -> TrainingRecipe:
    return changed(RECIPE, steps=None, minutes=value, checkpoint_minutes=100.0)


def test_a_plan_from_minutes_is_kept_and_calibration_leaves_no_trace(
    inputs: TrainingData, tmp_path: Path, slow_clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "is_replan_due", lambda schedule, step: False)
    checkpoint = stop_at(2, minutes(0.1), inputs, tmp_path / "run")
    kept = state.load(checkpoint).plan
    assert 20 <= kept.num_steps <= 45  # six seconds of steps that take a tenth
    monkeypatch.setattr(plan, "matrix_rate", lambda machine: 1 / 0)
    monkeypatch.setattr(start, "matrix_rate", lambda machine: 2.0)  # another machine's
    slow_clock[0] = 1000.0
    assert train(minutes(0.1), CONFIG, inputs, tmp_path / "run").num_steps == kept.num_steps
    ended = state.checkpoints(tmp_path / "run" / "checkpoints")[-1]
    assert state.load(ended).plan == replace(kept, matrix_flops=2.0)
    # Calibration steps are discarded: the result equals a run with that number of steps.
    monkeypatch.setattr(plan, "matrix_rate", lambda machine: kept.matrix_flops)
    recipe = changed(RECIPE, steps=kept.num_steps)
    result = train(recipe, CONFIG, inputs, tmp_path / "steps")
    assert digests(result.checkpoint) == digests(ended)
    assert losses(tmp_path / "steps") == losses(tmp_path / "run")


def test_more_minutes_give_more_steps(
    inputs: TrainingData, tmp_path: Path, slow_clock: list[float]
) -> None:
    planned = []
    for value in (0.05, 0.5):
        checkpoint = stop_at(1, minutes(value), inputs, tmp_path / str(value))
        planned.append(state.load(checkpoint).plan.num_steps)
    assert planned[1] > 8 * planned[0]


def test_a_length_in_tokens_is_rounded_down_to_steps(inputs: TrainingData, tmp_path: Path) -> None:
    recipe = changed(RECIPE, steps=None, tokens=2 * 192 + 191)
    result = train(recipe, CONFIG, inputs, tmp_path)
    assert (result.num_steps, result.num_tokens) == (2, 384)


@pytest.mark.parametrize(
    ("asked", "num_tokens", "expected"),
    [(None, 100, 2048), (None, 1_000_000, 10_000), (None, 10**12, 32_768), (50_000, 100, 50_000)],
)
def test_a_short_run_validates_on_fewer_tokens(
    asked: int | None, num_tokens: int, expected: int
) -> None:
    recipe = changed(RECIPE, validation_tokens=asked)
    assert plan.validation_tokens(recipe, num_tokens) == expected


class LimitedModule:
    """A training module on a device whose memory holds ``capacity`` sequences."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.optimizer = SimpleNamespace(zero_gradients=lambda: None)
        self.tried: list[int] = []

    def train_batch(self, rows: NDArray[np.int64], at_once: int, fraction: float) -> None:
        self.tried.append(at_once)
        assert (len(rows), fraction) == (at_once, 0.0)
        if at_once > self.capacity:
            raise torch.OutOfMemoryError("CUDA out of memory")


def rows_that_fit(module: LimitedModule, rows: int) -> tuple[int, list[str]]:
    notes: list[str] = []
    sequences = np.zeros((rows, 9), dtype=np.int64)
    return plan._micro_batch_that_fits(cast("TrainModule", module), sequences, notes.append), notes


def test_the_micro_batch_is_halved_until_it_fits_into_memory() -> None:
    assert rows_that_fit(LimitedModule(32), 32) == (32, [])
    module = LimitedModule(9)
    found, notes = rows_that_fit(module, 32)
    assert (found, module.tried) == (8, [32, 16, 8])
    assert notes[-1] == "too little memory: 8 sequences per pass (training.micro_batch_size)"
    assert rows_that_fit(LimitedModule(1), 3)[0] == 1


def test_the_error_says_what_to_change_if_no_sequence_fits() -> None:
    with pytest.raises(TrainingError, match="one sequence does not fit") as raised:
        rows_that_fit(LimitedModule(0), 2)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "values, words",
    [
        (
            {"tokens": 192},
            "only 1 step, and a model learns little in fewer than 20; raise",
        ),
        ({"tokens": 192 * 19}, "only 19 steps"),
        ({"tokens": 192 * 20}, None),
        ({"steps": 1}, None),  # an explicit number of steps gets no warning
        (
            {"minutes": 1e-4},
            "raise training.minutes (demo, adapt: --minutes), lower training.tokens_per_step (192)",
        ),
    ],
    ids=str,
)
def test_a_plan_of_very_few_steps_gives_a_warning_with_advice(
    inputs: TrainingData, tmp_path: Path, values: dict[str, Any], words: str | None
) -> None:
    notes = Notes()
    recipe = changed(RECIPE, **{"steps": None, **values})
    with pytest.raises(StoppedError):
        train(recipe, CONFIG, inputs, tmp_path, progress=notes, should_stop=lambda: True)
    warnings = [line for line in notes.lines if line.startswith("warning: this run has only")]
    assert len(warnings) == (words is not None)
    if words is not None:
        assert words in warnings[0]
        assert "\n" not in warnings[0]
