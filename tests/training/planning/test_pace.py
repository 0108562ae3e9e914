"""A run by the clock ends in time even if its rate changes."""

from collections.abc import Callable

import pytest

from codeling.training.planning.pace import Intervals, Pace, is_replan_due, steps_that_fit
from codeling.training.schedule import Schedule

BUDGET = 360.0
INTERVALS = Intervals(validation=0.1, sample=0.2, checkpoint_minutes=1.0)


def rate_changes(share: float, factor: float) -> Callable[[float], float]:
    return lambda time: factor if time > share * BUDGET else 1.0


def getting_warm(time: float) -> float:
    """The rate falls to 60 % over the first half."""
    return 1.0 - 0.4 * min(1.0, time / (0.5 * BUDGET))


def busy_now_and_then(time: float) -> float:
    return 0.5 if int(time / 20) % 2 else 1.0


RATES: dict[str, Callable[[float], float]] = {
    "steady": lambda time: 1.0,
    **{
        f"{word} after {share:.0%}": rate_changes(share, factor)
        for share in (0.02, 0.25, 0.5, 0.9, 0.97)
        for word, factor in (("halves", 0.5), ("doubles", 2.0))
    },
    "getting warm": getting_warm,
    "busy now and then": busy_now_and_then,
}


def simulate(rate: Callable[[float], float], step_seconds: float, planned: float) -> float:
    """Seconds that a run takes; ``planned`` is the factor by which its first plan is wrong."""
    num_steps = max(1, int(planned * BUDGET / step_seconds))
    schedule, pace, step, time, saved = Schedule(num_steps, num_steps), Pace(), 0, 0.0, 0.0
    while step < schedule.num_steps:
        if is_replan_due(schedule, step):
            fits = steps_that_fit(schedule, step, BUDGET - time, pace, INTERVALS)
            schedule, pace = schedule.replanned(step, fits), pace.restarted()
        seconds = step_seconds / rate(time)
        step, time, pace = step + 1, time + seconds, pace.with_step(seconds)
        if schedule.is_due(step, INTERVALS.validation):
            seconds = 1.0 / rate(time)
            time += seconds
            pace = Pace(pace.num_steps, pace.step_seconds, seconds, 0.0, 0.2)
        if time - saved > 60 or step == schedule.num_steps:
            time, saved = time + 0.2, time
    return time


@pytest.mark.parametrize("step_seconds", [0.05, 2.0])
@pytest.mark.parametrize("name", RATES)
def test_a_run_ends_within_five_per_cent_of_its_time(name: str, step_seconds: float) -> None:
    for planned in (0.5, 1.0, 1.2, 2.0):
        taken = simulate(RATES[name], step_seconds, planned)
        assert taken == pytest.approx(BUDGET, rel=0.05), planned


def test_a_run_out_of_time_takes_one_more_step() -> None:
    pace = Pace(num_steps=2, step_seconds=4.0)
    assert steps_that_fit(Schedule(100, 100), 50, -10.0, pace, INTERVALS) == 51


def test_due_measurements_and_checkpoints_are_subtracted_first() -> None:
    schedule = Schedule(100, 100)
    pace = Pace(2, 4.0, validation_seconds=3.0, sample_seconds=1.0, checkpoint_seconds=2.0)
    # After step 50: five validations, three samples, two checkpoints; the rest in steps of 2 s.
    left = 5 * 3.0 + 3 * 1.0 + 2 * 2.0 + 19 * 2.0
    assert left == 60.0
    assert steps_that_fit(schedule, 50, left, pace, INTERVALS) == 50 + 19


def test_without_a_measured_step_the_plan_stays() -> None:
    assert steps_that_fit(Schedule(100, 100), 50, 1.0, Pace(), INTERVALS) == 100


def test_a_run_is_replanned_forty_times_and_at_most_once_per_step() -> None:
    schedule = Schedule(400, 400)
    assert [step for step in range(401) if is_replan_due(schedule, step)] == [*range(10, 400, 10)]
    short = Schedule(10, 10)
    assert [step for step in range(11) if is_replan_due(short, step)] == [*range(1, 10)]
    again = schedule.replanned(10, 300)
    assert not is_replan_due(again, 10)
