import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeling.serving.lsp.positions import Encoding, num_units, offset_at, position_after

ENCODINGS: list[Encoding] = ["utf-8", "utf-16", "utf-32"]
TEXTS = st.text(st.sampled_from("aé€😀\n\r\t\f\x0b\u2028"), max_size=30)


@given(TEXTS, st.sampled_from(ENCODINGS))
def test_every_offset_has_a_position_and_comes_back(text: str, encoding: Encoding) -> None:
    for offset in range(len(text) + 1):
        if text[offset - 1 : offset + 1] == "\r\n":
            continue  # no position is within a line end
        line, character = position_after(0, 0, text[:offset], encoding)
        assert offset_at(text, line, character, encoding) == offset


@given(TEXTS, TEXTS, st.sampled_from(ENCODINGS))
def test_positions_add_up(first: str, second: str, encoding: Encoding) -> None:
    if first.endswith("\r") and second.startswith("\n"):
        return
    middle = position_after(0, 0, first, encoding)
    whole = position_after(0, 0, first + second, encoding)
    assert position_after(*middle, second, encoding) == whole


def test_units() -> None:
    assert [num_units("aé€😀", encoding) for encoding in ENCODINGS] == [10, 5, 4]


@pytest.mark.parametrize(
    "line, character, offset",
    [(0, 99, 2), (1, 0, 3), (1, 1, 3), (1, 2, 4), (9, 0, 5), (1, 99, 5)],
)
def test_positions_beyond_the_end_and_within_a_character(
    line: int, character: int, offset: int
) -> None:
    assert offset_at("ab\n😀c", line, character, "utf-16") == offset
