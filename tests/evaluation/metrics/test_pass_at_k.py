"""The estimator against the published formula and against counting; intervals."""

import itertools

import numpy as np
import pytest

from codeling.evaluation.metrics.pass_at_k import Score, mean, pass_at_k, ratio, wilson


def published(n: int, c: int, k: int) -> float:
    """The formula of Chen et al. 2021, figure 3."""
    if n - c < k:
        return 1.0
    return float(1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))


def test_pass_at_k_is_the_published_estimator() -> None:
    for n in (1, 2, 5, 10, 20, 100, 200):
        for k in {1, 2, 10, 100, n} - set(range(n + 1, 101)):
            for c in range(n + 1):
                assert abs(pass_at_k(n, c, k) - published(n, c, k)) <= 1e-12


def test_pass_at_k_counts_subsets_with_a_right_sample() -> None:
    for n, c, k in itertools.product(range(1, 7), range(7), range(1, 7)):
        if c > n or k > n:
            continue
        subsets = list(itertools.combinations(range(n), k))
        share = sum(min(subset) < c for subset in subsets) / len(subsets)
        assert pass_at_k(n, c, k) == pytest.approx(share, abs=1e-15)


@pytest.mark.parametrize("n, c, k", [(1, 0, 2), (5, 6, 1), (5, -1, 1), (5, 0, 0)])
def test_impossible_counts_are_refused(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match="pass@"):
        pass_at_k(n, c, k)


def test_the_interval_of_a_mean_is_near_that_of_the_normal_distribution() -> None:
    values = np.random.Generator(np.random.PCG64(1)).random(400).tolist()
    score = mean(values, seed=3)
    assert score is not None
    assert score.interval_95 is not None
    half = 1.96 * np.std(values) / np.sqrt(len(values))
    low, high = score.interval_95
    assert low == pytest.approx(np.mean(values) - half, abs=0.003)
    assert high == pytest.approx(np.mean(values) + half, abs=0.003)
    assert mean(values, seed=3) == score


def test_a_ratio_divides_sums_and_does_not_average_ratios() -> None:
    score = ratio([1.0, 30.0], [1.0, 10.0])
    assert score is not None
    assert score.value == 31 / 11


def test_no_problems_give_no_score_and_one_gives_no_interval() -> None:
    assert mean([]) is None
    assert mean([0.5]) == Score(0.5, None, 1)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_outcomes_still_have_an_interval(value: float) -> None:
    score = mean([value] * 164)
    assert score is not None
    assert score.interval_95 == wilson(value, 164)
    low, high = score.interval_95
    assert 0.01 < high - low < 0.03
