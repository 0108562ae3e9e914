import hypothesis.strategies as st
import pytest
from hypothesis import given

from codeling.generation.suggestions.place import (
    asks_at,
    find_place,
    is_border,
    lexer_at,
    start_of_look_back,
    statement_start,
)
from codeling.generation.text.lines import LogicalLine
from codeling.python_lexer import Lexer


@pytest.mark.parametrize(
    ("prefix", "asks"),
    [
        ("", True),
        ("x = 1\n", True),
        ("def f():\n    ", True),
        ("x", False),
        ("xy", True),
        ("x.", True),
        ("x.y", False),
        ("f(", True),
        ("f(a, ", True),
        ("f(a,", True),
        ("f(a)", False),
        ("return ", True),
        ("return  ", False),
        ("x = 12", False),
        ("x = 'a", False),
        ("x = 'ab", True),
        ("# TODO", True),
        ("परि", True),
    ],
)
def test_an_editor_asks_after_openers_and_from_a_words_second_letter(
    prefix: str, asks: bool
) -> None:
    assert asks_at(prefix) is asks


@pytest.mark.parametrize(
    ("prefix", "suffix"),
    [("x = fo", "o\n"), ("    ", "return x\n"), ("", "x = 1"), ("x = a", "1")],
)
def test_nothing_is_suggested_within_a_word_or_before_text(prefix: str, suffix: str) -> None:
    assert find_place(prefix, suffix) is None


@pytest.mark.parametrize(
    ("prefix", "reach"),
    [
        ("", "line"),
        ("x = 1\n", "line"),
        ("def f():\n    ", "block"),
        ("def f():\n    x", "line"),
        ("def f():\n    g(\n        ", "line"),
        ('def f():\n    """Say\n    ', "line"),
        ("class A:\n\t", "block"),
        ("def f():", "block"),
        ("def f(\n    a, b\n):", "block"),
        ("if x:  ", "block"),
        ("class A:\n\tif any(\n\t\tx\n\t\tif y\n\t):", "block"),
        ("def f():\n    for x in y:\n", "block"),
        ("x:", "line"),
        ("x = a[1:", "line"),
        ("x = lambda:", "line"),
        ("# if x:", "line"),
        ("'if x:", "line"),
    ],
)
def test_a_suggestion_reaches_over_lines_only_where_a_block_begins_or_continues(
    prefix: str, reach: str
) -> None:
    place = find_place(prefix)
    assert place is not None
    assert place.reach == reach


@pytest.mark.parametrize(
    ("suffix", "reach"),
    [
        ("", "block"),
        ("\n\n\nx = 1\n", "block"),
        ("\n    def g(): ...\n", "block"),
        ("\n\n        return 1\n", "line"),
        ("\n        return 1", "line"),
    ],
)
def test_a_block_that_has_a_body_is_not_begun_again(suffix: str, reach: str) -> None:
    place = find_place("class A:\n    def f(self):", suffix)
    assert place is not None
    assert place.reach == reach


def test_the_place_knows_the_word_and_whether_it_is_in_a_literal() -> None:
    place = find_place("def f():\n    return 'pa")
    assert place is not None
    assert (place.fragment, place.in_literal, place.indentation) == ("pa", True, "    ")
    place = find_place("x = 1  # fix")
    assert place is not None
    assert place.in_literal
    place = find_place("x = 12")
    assert place is not None
    assert not place.fragment


def test_the_statement_is_read_as_by_reading_the_whole_file() -> None:
    text = (
        'import os\n\n\ndef f(a):\n    """Text (with brackets."""\n    return g(\n        [a, "]"'
    )
    whole = LogicalLine()
    for length in range(len(text) + 1):
        whole = LogicalLine()
        whole.read(text[:length])
        lexer = lexer_at(text[:length])
        assert (lexer.in_string or lexer.depth > 0) == whole.is_open, text[:length]


@given(st.lists(st.text("ab()[{}'\"#\\ :=f", max_size=12), max_size=8))
def test_reading_from_the_start_of_the_statement_gives_the_same_state(lines: list[str]) -> None:
    text = "\n".join(f"    {line}" for line in lines)  # not at the top level
    whole, position = Lexer(), 0
    while position < len(text):
        whole.feed(text[position])
        position += 1
    lexer = lexer_at(text)
    for name in ("depth", "in_string", "in_comment", "quote"):
        assert getattr(lexer, name) == getattr(whole, name), name
    assert text[: statement_start(text)][-1:] in ("", "\n")


def test_only_the_last_statement_of_a_long_file_is_read() -> None:
    text = "x = 1\n" * 50_000 + "def f():\n    return (\n"
    assert text[start_of_look_back(text) :] == "def f():\n    return (\n"
    assert start_of_look_back("    x\n" * 50_000) > 250_000
    assert start_of_look_back("") == 0
    beyond = "import os\n" + "    x\n" * 50_000  # the last such line is further away
    assert start_of_look_back(beyond) > 250_000


def test_a_border_is_where_no_word_continues() -> None:
    assert [is_border("ab.c", position) for position in range(5)] == [
        True,
        False,
        True,
        True,
        True,
    ]
