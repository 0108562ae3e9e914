from collections import Counter

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray

from codeling.errors import ModelError
from codeling.generation.sampling import Draw, sample, uniform

Logits = NDArray[np.float32]


def random_logits(rows: int, size: int, seed: int = 0) -> Logits:
    generator = np.random.default_rng(seed)
    return (3 * generator.standard_normal((rows, size))).astype(np.float32)


def many(logits: Logits, draw: Draw, count: int) -> list[int]:
    """``count`` samples from one row of logits."""
    draws = [draw._replace(sample=number) for number in range(count)]
    return sample(np.repeat(logits, count, axis=0), draws)


@pytest.mark.parametrize(
    "draw",
    [
        Draw(),
        Draw(1.0, top_k=1),
        Draw(1.0, top_p=1e-9),
        Draw(1e-300),
        Draw(1.0, top_k=1, top_p=0.5),
    ],
    ids=str,
)
def test_settings_that_leave_one_id_are_greedy(draw: Draw) -> None:
    logits = random_logits(50, 99)
    assert sample(logits, [draw] * 50) == logits.argmax(-1).tolist()


def test_the_lowest_id_wins_among_equal_logits() -> None:
    logits = np.array([[0.0, 2.0, 2.0, 1.0]], np.float32)
    for draw in (Draw(), Draw(1.0, top_k=1), Draw(1.0, None, 0.1)):
        assert many(logits, draw, 20) == [1] * 20


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("top_k", [None, 5, 500])
@pytest.mark.parametrize("top_p", [None, 0.5, 0.95, 1.0])
def test_the_distribution_is_that_of_transformers(
    temperature: float, top_k: int | None, top_p: float | None
) -> None:
    size, count = 24, 3000
    logits = random_logits(1, size, seed=3)
    scores = transformers.TemperatureLogitsWarper(temperature)(
        torch.empty(0), torch.from_numpy(logits)
    )
    if top_k is not None:
        scores = transformers.TopKLogitsWarper(top_k)(torch.empty(0), scores)
    if top_p is not None:
        scores = transformers.TopPLogitsWarper(top_p)(torch.empty(0), scores)
    expected = scores.softmax(-1)[0]
    counts = Counter(many(logits, Draw(temperature, top_k, top_p, seed=1), count))
    assert set(counts) <= set(expected.nonzero().flatten().tolist())
    for i in range(size):
        p = float(expected[i])
        deviation = (count * p * (1 - p)) ** 0.5
        assert abs(counts[i] - count * p) <= 5 * deviation + 1


def test_top_p_keeps_the_smallest_set() -> None:
    logits = np.log(np.array([[0.5, 0.25, 0.125, 0.125]], np.float32))
    for top_p, kept in ((0.5, {0}), (0.51, {0, 1}), (0.75, {0, 1}), (0.8, {0, 1, 2})):
        assert set(many(logits, Draw(1.0, top_p=top_p), 200)) == kept


def test_top_p_applies_after_top_k() -> None:
    logits = np.log(np.array([[0.4, 0.3, 0.2, 0.1]], np.float32))
    assert set(many(logits, Draw(1.0, top_k=2, top_p=0.5), 200)) == {0}
    assert set(many(logits, Draw(1.0, top_k=2, top_p=0.6), 200)) == {0, 1}


def test_a_row_gets_the_same_id_in_a_batch_as_alone() -> None:
    """Every row has its own parameters."""
    logits = random_logits(8, 40)
    kinds = [
        Draw(),
        Draw(1.3, top_k=20, top_p=0.9, seed=5),
        Draw(0.7, top_p=0.8, sample=4, step=2),
        Draw(2.0, top_k=3, seed=1, step=9),
    ]
    draws = [kinds[row % 4]._replace(sample=row) for row in range(8)]
    alone = [sample(logits[i : i + 1], [draws[i]])[0] for i in range(8)]
    assert sample(logits, draws) == alone


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_an_error(value: float) -> None:
    logits = np.zeros((2, 8), np.float32)
    logits[1, 3] = value
    with pytest.raises(ModelError, match="not finite"):
        sample(logits, [Draw(), Draw()])


def test_masked_ids_are_never_drawn() -> None:
    logits = np.full((1, 10), -np.inf, np.float32)
    logits[0, [4, 6]] = 0.0
    for draw in (Draw(1.0), Draw(1.0, top_k=5), Draw(9.0, top_p=0.99)):
        assert set(many(logits, draw, 100)) == {4, 6}


def test_random_draws_are_uniform_and_distinct() -> None:
    draws = [
        uniform(seed, number, step)
        for seed in range(10)
        for number in range(10)
        for step in range(10)
    ]
    assert len(set(draws)) == 1000
    assert all(0 <= value < 1 for value in draws)
    assert abs(sum(draws) / 1000 - 0.5) < 0.05
    assert uniform(1, 2, 3) == uniform(1, 2, 3)
