import numpy as np
import pytest

from codeling.memory.gating.gate import exponentials


@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0])
def test_exponentials_are_those_of_numpy(scale: float) -> None:
    logits = (np.random.default_rng(1).normal(size=500) * scale).astype(np.float32)
    highest = logits.max()
    below = logits.astype(np.float64) - highest
    total, weighted = exponentials(logits, highest)
    assert total == pytest.approx(np.exp(below).sum(), rel=1e-6)
    assert weighted == pytest.approx((np.exp(below) * below).sum(), rel=1e-6, abs=1e-30)
