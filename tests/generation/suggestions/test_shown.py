from unittest.mock import Mock

import hypothesis.strategies as st
from hypothesis import given

from codeling.generation.suggestions.choice import Suggestion
from codeling.generation.suggestions.shown import ShownSuggestion


def shown(text: str) -> tuple[ShownSuggestion, Mock]:
    suggester = Mock()
    suggester.suggest.return_value = Suggestion(text, 0.5, "model", 3.0)
    return ShownSuggestion(suggester), suggester


@given(st.text("ab (\n", min_size=1, max_size=20))
def test_typing_what_is_shown_never_makes_it_flicker(text: str) -> None:
    editor, suggester = shown(text)
    for length in range(len(text)):
        suggestion = editor.suggest("x = " + text[:length], "\nend")
        assert suggestion is not None
        assert suggestion.text == text[length:]
    assert suggester.suggest.call_count == 1


def test_another_letter_cursor_or_suffix_asks_again() -> None:
    for prefix, suffix in (
        ("x = ax", ""),
        ("x =", ""),
        ("y = a", ""),
        ("x = abc", ""),
        ("x = a", "b"),
    ):
        editor, suggester = shown("abc")
        editor.suggest("x = ", "")
        editor.suggest(prefix, suffix)
        assert suggester.suggest.call_count == 2, (prefix, suffix)


def test_silence_is_asked_about_again() -> None:
    editor, suggester = shown("abc")
    suggester.suggest.return_value = None
    assert editor.suggest("x = ") is None
    assert editor.suggest("x = a") is None
    assert suggester.suggest.call_count == 2
