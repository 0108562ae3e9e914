import pytest

from codeling.training.planning.forecast import MEASURED, forecast


def test_the_fit_matches_the_measured_runs_within_its_error() -> None:
    missed = [
        forecast(run.block_parameters, int(run.tokens)).bits_per_byte - run.bits_per_byte
        for run in MEASURED
    ]
    error = forecast(1_000_000, 1_000_000).error
    assert sum(miss**2 for miss in missed) / len(missed) < error**2
    assert max(map(abs, missed)) < 3 * error
    assert sum(missed) == pytest.approx(0.0, abs=0.01)


def test_more_tokens_or_parameters_never_raise_the_forecast() -> None:
    sizes = [10**5, 10**6, 10**7, 10**9]
    for parameters in sizes:
        falling = [forecast(parameters, tokens).bits_per_byte for tokens in sizes]
        assert falling == sorted(falling, reverse=True)
        assert falling[-1] > 0
    for tokens in sizes:
        falling = [forecast(parameters, tokens).bits_per_byte for parameters in sizes]
        assert falling == sorted(falling, reverse=True)


def test_a_forecast_far_from_the_measured_runs_is_marked() -> None:
    known = max(MEASURED, key=lambda run: run.tokens)
    assert forecast(known.block_parameters, int(known.tokens)).is_within
    assert not forecast(known.block_parameters * 100, int(known.tokens)).is_within
    assert not forecast(known.block_parameters, int(known.tokens) * 100).is_within
