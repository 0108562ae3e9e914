"""Settings of suites: defaults, and values out of range."""

import pytest

from codeling.errors import UsageError
from codeling.evaluation.suites.suite import EvaluationSettings, SampleSettings, published_sampling


def test_one_sample_is_greedy_and_more_use_the_published_sampling() -> None:
    assert published_sampling(1) == (0.0, None)
    assert published_sampling(20) == (0.2, 0.95)
    assert published_sampling(200) == (0.8, 0.95)
    assert EvaluationSettings(n=200, temperature=0.5).samples(512).top_p is None
    assert EvaluationSettings(n=200).samples(512).top_p == 0.95
    assert EvaluationSettings(temperature=0.5, top_p=0.9).samples(512).top_p == 0.9


def test_the_suites_token_limit_is_a_default() -> None:
    assert EvaluationSettings().samples(128).max_new_tokens == 128
    assert EvaluationSettings(max_new_tokens=7).samples(128).max_new_tokens == 7


@pytest.mark.parametrize("values", [{"n": 0}, {"limit": 0}, {"batch_size": 0}])
def test_values_below_one_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="1 or more"):
        EvaluationSettings(**values)  # type: ignore[arg-type]


def test_a_group_has_at_least_one_problem() -> None:
    assert SampleSettings(n=4, batch_size=32).group_size == 8
    assert SampleSettings(n=100, batch_size=32).group_size == 1
