import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeling.training.schedule import Schedule, learning_rate

STEPS = st.integers(1, 400)
WARMUP = st.floats(0, 0.999)


@given(STEPS, WARMUP)
def test_the_rate_rises_to_its_peak_and_falls_to_almost_nothing(steps: int, warmup: float) -> None:
    rates = [learning_rate(step, steps, warmup) for step in range(steps)]
    assert all(0 < rate <= 1 for rate in rates)
    assert max(rates) == 1.0
    peak = rates.index(1.0)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    # The peak comes where the warm-up ends, the update after the last would have rate zero.
    assert peak == max(1, round(steps * warmup)) - 1
    assert learning_rate(steps, steps, warmup) == 0.0


@pytest.mark.parametrize("steps", [100, 1000])
def test_the_last_rate_is_near_zero_and_the_first_is_not_zero(steps: int) -> None:
    # Stepped once per micro-batch of eight, as elsewhere, it would end at 88 % of its peak.
    assert learning_rate(steps - 1, steps, 0.05) < 1.1 / steps / 0.95
    assert learning_rate(0, steps, 0.05) == pytest.approx(1 / (0.05 * steps))


def test_both_sides_are_straight_lines() -> None:
    rates = [learning_rate(step, 1000, 0.1) for step in range(1000)]
    assert rates[:100] == pytest.approx([(step + 1) / 100 for step in range(100)])
    assert rates[100:] == pytest.approx([(1000 - step) / 900 for step in range(100, 1000)])


def test_a_run_of_one_step_takes_it_at_the_peak() -> None:
    assert learning_rate(0, 1, 0.05) == 1.0


@given(STEPS, st.floats(0.001, 1.0))
def test_work_at_intervals_is_due_at_the_end_and_as_often_as_requested(
    steps: int, interval: float
) -> None:
    done = [step for step in range(steps + 1) if Schedule(steps, steps).is_due(step, interval)]
    assert done[-1] == steps
    assert 0 not in done
    every = max(1, round(steps * interval))
    early = [step for step in range(every, steps, every) if steps - step >= every / 2]
    assert done == [*early, steps]
    assert len(done) <= math.ceil(steps / every)


@pytest.mark.parametrize("steps", [*range(1550, 1570), 47, 1562])
def test_nothing_is_done_twice_at_the_end(steps: int) -> None:
    """Also where the last plan moved the end: 1,561 steps planned, 1,562 done."""
    for schedule in (Schedule(steps, steps), Schedule(steps - 1, steps - 1).replanned(10, steps)):
        done = [step for step in range(11, steps + 1) if schedule.is_due(step, 0.1)]
        assert done[-1] == steps
        assert done[-1] - done[-2] >= 0.04 * steps


def test_every_tenth_of_a_run() -> None:
    assert [step for step in range(51) if Schedule(50, 50).is_due(step, 0.1)] == list(
        range(5, 51, 5)
    )


@given(STEPS, st.floats(0.001, 1.0))
def test_a_first_plan_has_a_position_for_every_step(steps: int, interval: float) -> None:
    schedule = Schedule(steps, steps)
    assert [schedule.position(step) for step in range(steps + 1)] == list(range(steps + 1))
    due = [step for step in range(1, steps + 1) if schedule.is_due(step, interval)]
    for step in range(steps + 1):
        assert schedule.num_due(step, interval) == sum(each > step for each in due)


REPLANS = st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.3, 3.0)), max_size=5)


@given(st.integers(1, 200), WARMUP, st.floats(0.01, 0.5), REPLANS)
def test_a_replanned_schedule_has_no_jump_and_ends_at_its_end(
    steps: int, warmup: float, interval: float, replans: list[tuple[float, float]]
) -> None:
    schedule, step, due = Schedule(steps, steps), 0, 0
    for share, factor in replans:
        target = step + int(share * (schedule.num_steps - step))
        while step < target:
            step += 1
            due += schedule.is_due(step, interval)
        if step == schedule.num_steps:
            break
        left = max(1, round((schedule.num_steps - step) * factor))
        replanned = schedule.replanned(step, step + left)
        assert replanned.position(step) == schedule.position(step)
        before, after = (each.learning_rate(step, warmup) for each in (schedule, replanned))
        assert before == after
        assert not replanned.is_due(step, interval)  # done under the plan before
        schedule = replanned
    while step < schedule.num_steps:
        assert 0 <= schedule.learning_rate(step, warmup) <= 1
        step += 1
        due += schedule.is_due(step, interval)
    assert schedule.position(schedule.num_steps) == steps
    assert learning_rate(schedule.position(step), steps, warmup) == 0.0
    # As often as planned at first, unless a step is longer than the interval.
    every = max(1, round(steps * interval))
    assert due <= math.ceil(steps / every)
