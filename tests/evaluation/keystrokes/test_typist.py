"""A simulated person: hand-counted sessions, and laws for any file and any suggestions."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from codeling.evaluation.keystrokes.typist import Event, type_text


def fixed(*pairs: tuple[str, str]):  # type: ignore[no-untyped-def]
    """Suggestions by the end of the text before the cursor."""

    def suggest(prefix: str, suffix: str) -> str | None:
        return next((text for end, text in pairs if prefix.endswith(end)), None)

    return suggest


def test_a_session_counted_by_hand() -> None:
    text = "import os\nprint(os)\n"
    session = type_text(text, fixed(("im", "port os"), ("pr", "intf("), ("(", "oops")))
    assert session.num_characters == 18
    assert session.events == [
        Event(2, "port os", 7, 6),
        Event(12, "intf(", 0, 0),
        Event(16, "oops", 0, 0),
    ]
    assert (session.num_saved, session.num_accepted, session.num_wrong) == (6, 1, 2)


def test_indentation_and_line_ends_cost_nothing() -> None:
    session = type_text("if x:\n\n        y = 1\n", fixed())
    assert session.num_characters == len("if x:") + len("y = 1")
    assert session.events == []


@pytest.mark.parametrize(
    ("accept", "accepted"), [("word", len("total = ")), ("line", 0), ("whole", 0)]
)
def test_a_partly_right_line_is_accepted_by_word_only(accept: str, accepted: int) -> None:
    session = type_text("total = first\n", fixed(("", "total = fire")), accept)
    assert session.events[0].accepted == accepted


def test_a_right_line_of_a_block_is_accepted_by_line() -> None:
    text = "if x:\n    first()\n    second()\n"
    shown = "first()\n    other()"
    for accept, accepted in (("line", 7), ("whole", 0)):
        session = type_text(text, fixed(("    ", shown)), accept)
        assert session.events[0].accepted == accepted


def test_a_suggestion_that_agrees_with_the_keys_stays() -> None:
    requests = []

    def suggest(prefix: str, suffix: str) -> str | None:
        requests.append(prefix)
        return "abcdefgx" if prefix == "" else None

    session = type_text("abcdefgh ij\n", suggest)
    assert requests[0] == ""
    assert requests[1] == "abcdefgh"  # the first wrong letter removed it
    assert session.num_wrong == 1


def test_a_line_that_occurs_above_is_not_new() -> None:
    session = type_text("a = 1\nb = 2\na = 1\n", fixed(("a = 1\n", "b = 2")))
    assert session.new_lines == [False, True]
    assert session.repeated_lines == [False]


def test_lines_in_the_middle_are_typed_with_the_rest_after_the_cursor() -> None:
    text = "a = 1\nbb = 2\nc = 3\n"
    seen = set()

    def suggest(prefix: str, suffix: str) -> str | None:
        seen.add(suffix)
        return None

    session = type_text(text, suggest, begin=6, end=13, sees_suffix=True)
    assert seen == {"c = 3\n"}
    assert session.num_characters == len("bb = 2")


words = st.text("ab_. (\n", max_size=30)


@given(words, st.lists(words, max_size=5), st.sampled_from(["word", "line", "whole"]))
def test_laws(text: str, texts: list[str], accept: str) -> None:
    prefixes = []

    def suggest(prefix: str, suffix: str) -> str | None:
        prefixes.append(prefix)
        return texts[len(prefix) % len(texts)] if texts else None

    session = type_text(text, suggest, accept)
    assert len(prefixes) == session.num_requests
    assert all(text.startswith(prefix) for prefix in prefixes)
    assert 0 <= session.num_saved <= session.num_characters
    covered = -1
    for event in session.events:
        assert event.position >= covered
        accepted = text[event.position : event.position + event.accepted]
        assert event.shown.startswith(accepted)
        assert (event.accepted == 0) == (event.saved == 0)
        covered = event.position + event.accepted


@given(words)
def test_perfect_suggestions_are_all_accepted(text: str) -> None:
    session = type_text(text, lambda prefix, suffix: text[len(prefix) :] or None, "whole")
    for event in session.events:
        assert event.accepted == len(event.shown) or sum(map(str.isalnum, event.shown)) < 30
