import pytest

from codeling.generation.request import Request, SamplingParams
from codeling.serving.suggest import suggest

PARAMS = SamplingParams(stop="END")


def at(prefix: str, suffix: str, can_infill: bool = True) -> Request:
    return suggest(prefix, suffix, PARAMS, context_length=8, can_infill=can_infill)


@pytest.mark.parametrize(
    "prefix, suffix",
    [
        ("def f():\n", "\nx"),
        ("def f():", "\nx"),
        ("if x:  ", "\n"),
        ("x = 1\n    ", "\ny"),
        ("", ""),
    ],
)
def test_a_block_follows_a_colon_and_a_blank_line(prefix: str, suffix: str) -> None:
    params = at(prefix, suffix).params
    assert params.stop_at_block_end
    assert params.stops == ("END",)


@pytest.mark.parametrize(
    "prefix, suffix", [("x = ", "\ny"), ("f(", ")\n"), ("def f():", " pass"), ("    ", "return 1")]
)
def test_a_line_ends_with_the_line(prefix: str, suffix: str) -> None:
    params = at(prefix, suffix).params
    assert not params.stop_at_block_end
    assert params.stops == ("END", "\n")


def test_a_blank_suffix_is_not_used_nor_one_that_the_model_does_not_know() -> None:
    assert at("x", "\ny").suffix == "\ny"
    assert at("x", " \n").suffix is None
    assert at("x", "\ny", can_infill=False).suffix is None


def test_the_beginning_of_a_long_file_is_cut_at_a_line_and_stays_while_typing() -> None:
    lines = "".join(f"line {number}\n" for number in range(500))
    starts = set()
    for typed in range(60):
        prompt = at(lines + "x" * typed, "").prompt
        assert (lines + "x" * typed).endswith(prompt)
        assert prompt.startswith("line ")
        assert 128 <= len(prompt) <= 2 * 128 + 64
        starts.add(len(lines) + typed - len(prompt))
    assert len(starts) == 1
    assert at("x" * 100, "").prompt == "x" * 100
    assert len(at("x" * 10_000, "y" * 10_000).suffix or "") == 128
