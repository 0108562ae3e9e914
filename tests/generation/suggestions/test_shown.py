import hypothesis.strategies as st
import pytest
from hypothesis import given

from codeling.generation.suggestions.shown import ShownText

TEXTS = st.text("ab (\n", max_size=20)


@given(TEXTS, TEXTS, TEXTS)
def test_a_suggestion_never_flickers_while_it_is_typed(prefix: str, text: str, suffix: str) -> None:
    shown = ShownText()
    shown.show(prefix, suffix, text)
    assert shown.is_at(prefix, suffix)
    assert not shown.is_at(prefix + "x", suffix)
    for length in range(len(text) + 1):
        assert shown.remaining(prefix + text[:length], suffix) == text[length:]


@given(TEXTS, TEXTS, TEXTS, TEXTS, TEXTS)
def test_the_remaining_text_completes_the_same_text(
    prefix: str, text: str, suffix: str, other_prefix: str, other_suffix: str
) -> None:
    shown = ShownText()
    shown.show(prefix, suffix, text)
    remaining = shown.remaining(other_prefix, other_suffix)
    assert not remaining or other_prefix + remaining + other_suffix == prefix + text + suffix


@pytest.mark.parametrize(
    ("prefix", "suffix"),
    [("x = ax", ""), ("x =", ""), ("y = a", ""), ("x = abc", ""), ("x = a", "b")],
)
def test_another_letter_cursor_or_suffix_shows_nothing(prefix: str, suffix: str) -> None:
    shown = ShownText()
    assert shown.remaining(prefix, suffix) == ""
    shown.show("x = ", "", "abc")
    assert shown.remaining(prefix, suffix) == ""
