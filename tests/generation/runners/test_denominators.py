import numpy as np
import pytest

from codeling.generation.runners.denominators import log_denominators, padded_copy


@pytest.mark.parametrize("size", [16, 40, 330])
def test_log_denominators_are_those_of_a_softmax_and_of_one_row_alone(size: int) -> None:
    logits = np.random.default_rng(size).normal(0, 9, (7, size)).astype(np.float32)
    logits[2, 1:] = -np.inf
    expected = np.logaddexp.reduce(logits.astype(np.float64), axis=1)
    rows = [0, 2, 3, 6]
    before = logits.copy()
    found = log_denominators(padded_copy(logits, rows))
    assert found == pytest.approx(expected[rows], abs=1e-5)
    for row, each in zip(rows, found, strict=True):
        assert log_denominators(padded_copy(logits, [row])) == [each]
    assert (logits == before).all()
