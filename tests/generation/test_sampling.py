from collections import Counter

import pytest
import torch
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from codeling.errors import UsageError
from codeling.generation.request import SamplingParams
from codeling.generation.sampling import sample, uniform


def random_logits(rows: int, size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, size, generator=torch.Generator().manual_seed(seed)) * 3


def draw(logits: torch.Tensor, sampling: SamplingParams, count: int) -> list[list[int]]:
    """``count`` draws for each row of ``logits``."""
    rows = len(logits)
    return [
        sample(logits, sampling, [number] * rows, list(range(rows))).tolist()
        for number in range(count)
    ]


@pytest.mark.parametrize(
    "sampling",
    [
        SamplingParams(),
        SamplingParams(temperature=1.0, top_k=1),
        SamplingParams(temperature=1.0, top_p=1e-9),
        SamplingParams(temperature=1e-300),
    ],
    ids=str,
)
def test_all_that_leave_one_id_are_greedy(sampling: SamplingParams) -> None:
    logits = random_logits(50, 99)
    assert torch.equal(sample(logits, sampling, [0] * 50, [7] * 50), logits.argmax(-1))


def test_equal_logits_the_lowest_id_wins() -> None:
    logits = torch.tensor([[0.0, 2.0, 2.0, 1.0]])
    for sampling in (
        SamplingParams(),
        SamplingParams(temperature=1, top_k=1),
        SamplingParams(1.0, None, 0.1),
    ):
        assert draw(logits, sampling, 20) == [[1]] * 20


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("top_k", [None, 5, 500])
@pytest.mark.parametrize("top_p", [None, 0.5, 0.95, 1.0])
def test_the_distribution_is_hugging_faces(
    temperature: float, top_k: int | None, top_p: float | None
) -> None:
    size, count = 24, 3000
    logits = random_logits(1, size, seed=3)
    scores = TemperatureLogitsWarper(temperature)(torch.empty(0), logits)
    if top_k is not None:
        scores = TopKLogitsWarper(top_k)(torch.empty(0), scores)
    if top_p is not None:
        scores = TopPLogitsWarper(top_p)(torch.empty(0), scores)
    expected = scores.softmax(-1)[0]
    sampling = SamplingParams(temperature, top_k, top_p, seed=1)
    ids = sample(logits.expand(count, -1), sampling, range(count), [0] * count).tolist()
    counts = Counter(ids)
    assert set(counts) <= set(expected.nonzero().flatten().tolist())
    for i in range(size):
        p = float(expected[i])
        deviation = (count * p * (1 - p)) ** 0.5
        assert abs(counts[i] - count * p) <= 5 * deviation + 1


def test_top_p_keeps_the_smallest_set() -> None:
    logits = torch.tensor([[0.5, 0.25, 0.125, 0.125]]).log()
    for top_p, kept in ((0.5, {0}), (0.51, {0, 1}), (0.75, {0, 1}), (0.8, {0, 1, 2})):
        ids = {row[0] for row in draw(logits, SamplingParams(1.0, top_p=top_p), 200)}
        assert ids == kept


def test_a_row_gets_in_a_batch_what_it_gets_alone() -> None:
    logits = random_logits(8, 40)
    sampling = SamplingParams(1.3, top_k=20, top_p=0.9, seed=5)
    samples, steps = [3, 1, 4, 1, 5, 9, 2, 6], [2, 7, 1, 8, 2, 8, 1, 8]
    together = sample(logits, sampling, samples, steps).tolist()
    alone = [sample(logits[i : i + 1], sampling, [samples[i]], [steps[i]]).item() for i in range(8)]
    assert together == alone


def test_prose_has_a_temperature_of_its_own() -> None:
    logits = random_logits(6, 30)
    samples, steps, in_prose = range(6), [4] * 6, [True, False] * 3
    for code, prose in ((0.4, 1.0), (0.0, 1.0), (1.0, 0.0)):
        mixed = sample(
            logits, SamplingParams(code, prose_temperature=prose), samples, steps, in_prose
        )
        for row, (drawn, is_prose) in enumerate(zip(mixed.tolist(), in_prose, strict=True)):
            alone = SamplingParams(prose if is_prose else code)
            assert drawn == sample(logits[row : row + 1], alone, [row], [4]).item()
    same = sample(logits, SamplingParams(0.7), samples, steps, in_prose)
    assert torch.equal(same, sample(logits, SamplingParams(0.7), samples, steps))


def test_masked_ids_are_never_drawn() -> None:
    logits = torch.full((1, 10), -torch.inf)
    logits[0, 4] = logits[0, 6] = 0.0
    for sampling in (
        SamplingParams(1.0),
        SamplingParams(1.0, top_k=5),
        SamplingParams(9.0, top_p=0.99),
    ):
        assert {row[0] for row in draw(logits, sampling, 100)} == {4, 6}


def test_draws_are_spread_and_their_own() -> None:
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


@pytest.mark.parametrize(
    "values",
    [
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"prose_temperature": -0.1},
        {"top_k": 0},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_p": float("nan")},
        {"seed": -1},
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(values: dict[str, float]) -> None:
    (name,) = values
    with pytest.raises(UsageError, match=f"^{name} must be"):
        SamplingParams(**values)  # type: ignore[arg-type]
