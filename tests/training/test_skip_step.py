import math
import random

import pytest

from codeling.errors import TrainingError
from codeling.training.skip_step import ENOUGH, MAX_BAD_STEPS, NOTHING, WINDOW, Seen, give_up, judge


def usual(count: int = WINDOW) -> Seen:
    generator = random.Random(0)
    return Seen(losses=tuple(generator.gauss(3.0, 0.1) for _ in range(count)))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_number_is_left_out_and_counted(value: float) -> None:
    seen = NOTHING
    for count in range(1, MAX_BAD_STEPS + 1):
        give_up(seen, count)
        loss, norm = (value, 1.0) if count % 2 else (1.0, value)
        seen, reason = judge(seen, loss, norm, None)
        assert seen.bad_steps == count
        assert reason is not None
        assert str(value) in reason
    with pytest.raises(TrainingError, match=r"3 steps in a row \(at step 7\).*muon_lr"):
        give_up(seen, 7)
    assert judge(seen, 1.0, 1.0, None) == (NOTHING, None)


def test_without_a_sigma_nothing_else_is_left_out_or_kept() -> None:
    assert judge(NOTHING, 1e9, 1e9, None) == (NOTHING, None)


def test_a_spike_is_left_out_and_a_fall_is_not() -> None:
    seen, reason = judge(usual(), 3.7, 1.0, 6.0)
    assert reason is not None
    assert "spike" in reason
    assert seen.losses == (*usual().losses[1:], 3.7)  # a new level is got used to
    assert judge(usual(), 3.5, 1.0, 6.0)[1] is None
    assert judge(usual(), 0.1, 1.0, 6.0)[1] is None
    assert judge(usual(), 3.5, 1.0, 3.0)[1] is not None


def test_too_few_losses_say_nothing() -> None:
    assert judge(usual(ENOUGH - 1), 100.0, 1.0, 6.0)[1] is None
    assert judge(usual(ENOUGH), 100.0, 1.0, 6.0)[1] is not None


def test_a_bad_step_leaves_the_losses() -> None:
    seen, _ = judge(usual(), math.nan, 1.0, 6.0)
    assert seen.losses == usual().losses
