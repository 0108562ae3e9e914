import math

import pytest

from codeling.errors import TrainingError
from codeling.training.skip_step import MAX_SKIPPED_STEPS, check_skipped, skip_reason


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_the_reason(value: float) -> None:
    for loss, norm, name in ((value, 1.0, "loss"), (1.0, value, "gradient norm")):
        assert skip_reason(loss, norm) == f"the {name} is {value}"


def test_a_finite_loss_is_never_skipped_however_large() -> None:
    assert skip_reason(1e9, 1e9) is None


def test_a_run_is_given_up_after_three_skipped_steps() -> None:
    for count in range(MAX_SKIPPED_STEPS):
        check_skipped(count, count)
    with pytest.raises(TrainingError, match=r"3 consecutive steps \(at step 7\).*muon_lr"):
        check_skipped(MAX_SKIPPED_STEPS, 7)
