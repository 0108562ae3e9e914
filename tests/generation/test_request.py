import pytest

from codeling.errors import UsageError
from codeling.generation.request import SamplingParams


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
        {"max_new_tokens": 0},
        {"max_repeats": -1},
        {"start_length": -1},
        {"start_probability": 1.5},
        {"max_new_tokens": 1.5},
        {"max_new_tokens": "8"},
        {"seed": None},
        {"temperature": "hot"},
        {"temperature": None},
        {"temperature": True},
        {"prose_temperature": False},
        {"top_p": True},
        {"stop_at_block_end": "yes"},
        {"stop_at_block_end": 1},
        {"stop": None},
        {"stop": [1]},
        {"stop": 5},
        {"temperature": 10**400},
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(values: dict[str, object]) -> None:
    (name,) = values
    with pytest.raises(UsageError, match=f"^{name} must be"):
        SamplingParams(**values)  # type: ignore[arg-type]


def test_stop_is_one_string_or_several() -> None:
    assert SamplingParams().stops == ()
    assert SamplingParams(stop="ab").stops == ("ab",)
    assert SamplingParams(stop=["a", "b"]).stops == ("a", "b")
    with pytest.raises(UsageError, match="must not be empty"):
        SamplingParams(stop=["a", ""])
