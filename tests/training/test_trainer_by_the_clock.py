"""Training by the clock: replanned on the way, in time, and exact when it is resumed."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from codeling.errors import StoppedError
from codeling.training import clock
from codeling.training.checkpoint import state
from codeling.training.data import TrainingData
from codeling.training.train_module import StepResult, TrainModule

from .runs import CONFIG, RECIPE, changed, digests, log, logged, stop_at, train

pytestmark = pytest.mark.usefixtures("small_and_quick")

BUDGET = 10.0
BY_THE_CLOCK = changed(
    RECIPE, steps=None, minutes=BUDGET / 60, checkpoint_minutes=100.0, sample_interval=0.5
)


class Simulated:
    """A clock that only steps move, by an eighth of a second over the rate."""

    def __init__(self, rate: Callable[[float], float]) -> None:
        self.now = 0.0
        self.trained = 0.0
        self.rate = rate

    def step(self) -> None:
        self.now += 0.125 / self.rate(self.now)


@pytest.fixture
def simulate(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[float], float]], Simulated]:
    original = TrainModule.train_batch

    def install(rate: Callable[[float], float]) -> Simulated:
        simulated = Simulated(rate)

        def train_batch(self: TrainModule, *given: Any, **options: Any) -> StepResult | None:
            result = original(self, *given, **options)
            if result is not None:
                simulated.step()
            return result

        monkeypatch.setattr(TrainModule, "train_batch", train_batch)
        monkeypatch.setattr(clock, "now", lambda: simulated.now)
        return simulated

    return install


RATES: dict[str, Callable[[float], float]] = {
    "halves": lambda time: 0.5 if time > 0.4 * BUDGET else 1.0,
    "doubles": lambda time: 2.0 if time > 0.4 * BUDGET else 1.0,
}


@pytest.mark.parametrize("name", RATES)
def test_the_run_ends_in_time_and_the_rate_at_zero(
    inputs: TrainingData,
    tmp_path: Path,
    simulate: Callable[[Callable[[float], float]], Simulated],
    name: str,
) -> None:
    simulated = simulate(RATES[name])
    result = train(BY_THE_CLOCK, CONFIG, inputs, tmp_path)
    assert simulated.now == pytest.approx(BUDGET, rel=0.05)
    assert result.seconds == pytest.approx(BUDGET, rel=0.05)
    plan = state.load(result.checkpoint).plan
    assert plan.num_steps == result.num_steps != plan.schedule.length
    rates = [line["learning_rate"] for line in log(tmp_path) if line.get("kind") == "step"]
    assert len(rates) == result.num_steps
    assert rates[-1] < 0.02
    largest = 3 / plan.schedule.length / (1 - RECIPE.warmup_fraction)
    assert all(0 <= a - b < largest for a, b in pairwise(rates[10:]))
    measured = [line["step"] for line in log(tmp_path) if line.get("kind") == "validation"]
    assert 4 <= len(measured) <= 5  # the quarters, and the end if it is not one
    assert measured[-1] == result.num_steps


def test_stopped_and_resumed_ends_in_the_same_bits(
    inputs: TrainingData,
    tmp_path: Path,
    simulate: Callable[[Callable[[float], float]], Simulated],
) -> None:
    def rate(time: float) -> float:
        return 0.5 if 3.5 < time < 7 else 1.0

    simulate(rate)
    whole = train(BY_THE_CLOCK, CONFIG, inputs, tmp_path / "whole")
    simulated = simulate(rate)
    folder = tmp_path / "stopped"
    for steps in (3, 20, 1, 13, 16):
        stop_at(steps, BY_THE_CLOCK, inputs, folder)
        # Time between two processes does not count; the same second of training follows.
        assert state.load(state.checkpoints(folder / "checkpoints")[-1]).seconds == simulated.now
    # A stop between two passes of a step, after that step was planned anew.
    before, asked = logged(folder), 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked == 8

    with pytest.raises(StoppedError):
        train(BY_THE_CLOCK, CONFIG, inputs, folder, should_stop=should_stop)
    assert logged(folder) > before
    result = train(BY_THE_CLOCK, CONFIG, inputs, folder)
    assert result.num_steps == whole.num_steps
    assert digests(result.checkpoint) == digests(whole.checkpoint)
    assert log(folder) == log(tmp_path / "whole")
    ends = (state.load_without_tensors(each.checkpoint) for each in (result, whole))
    first, second = ends
    assert first.plan.schedule == second.plan.schedule
