import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeling.training.schedule import is_due, learning_rate

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
def test_what_is_done_at_intervals_is_done_at_the_end_and_as_often_as_asked(
    steps: int, interval: float
) -> None:
    done = [step for step in range(steps + 1) if is_due(step, steps, interval)]
    assert done[-1] == steps
    assert 0 not in done
    every = max(1, round(steps * interval))
    assert done == sorted({*range(every, steps + 1, every), steps})
    assert len(done) <= math.ceil(steps / every)


def test_every_tenth_of_a_run() -> None:
    assert [step for step in range(51) if is_due(step, 50, 0.1)] == list(range(5, 51, 5))
