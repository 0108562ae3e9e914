import pytest
import torch

from codeling.training.optimizer.weight_averaging import TailAverage


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_it_is_the_mean_of_the_last_steps(share: float) -> None:
    weights = [torch.randn(3, 2, generator=torch.Generator().manual_seed(n)) for n in range(20)]
    average = TailAverage(20, share)
    for step, weight in enumerate(weights, start=1):
        before = step < average.first_step
        average.include(step, {"w": weight})
        assert bool(average.tensors) is not before
    last = round(20 * share)
    assert average.first_step == 20 - last + 1
    expected = torch.stack(weights[-last:]).mean(0)
    torch.testing.assert_close(average.tensors["w"], expected)


def test_nothing_is_averaged_by_default() -> None:
    average = TailAverage(5, 0.0)
    for step in range(1, 6):
        average.include(step, {"w": torch.ones(1)})
    assert average.tensors == {}


def test_the_weights_averaged_are_not_those_trained() -> None:
    weight = torch.nn.Parameter(torch.zeros(2))
    average = TailAverage(4, 0.5)
    average.include(3, {"w": weight})
    with torch.no_grad():
        weight.add_(1)
    assert average.tensors["w"].tolist() == [0.0, 0.0]
    average.include(4, {"w": weight})
    assert average.tensors["w"].tolist() == [0.5, 0.5]
    assert weight.tolist() == [1.0, 1.0]
