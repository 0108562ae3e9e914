"""State of a logical line: open strings, brackets, comments and docstrings."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeling.generation.text.lines import CodeLine, LogicalLine, code_lines

PIECES = st.lists(
    st.sampled_from(
        ["f'", "'", "'''", 'rf"', '"', '"""', "{", "}", "(", ")", "[", "]", ":", "#", "\\", "\n",
         "\n    ", "\n\t", "\r", "\f", "\\\n", "\\\r\n", " ", "a", "N{", "é", "\u00a0", "\v", "@d",
         "def f():", "x = 1", "y" * 70]
    ),
    max_size=24,
).map("".join)  # fmt: skip


def at_end(text: str) -> LogicalLine:
    line = LogicalLine()
    line.read(text)
    return line


@pytest.mark.parametrize(
    "text, in_prose, is_open",
    [
        ("", False, False),
        ("x = 1\n", False, False),
        ("x = f(", False, True),
        ("x = f(1)", False, False),
        ("x = 'it", False, True),
        ("x = 'it'", False, False),
        ("x = 1  # it", True, False),
        ("x = [  # it", True, True),
        ("x = 1  # it\n", False, False),
        ('def f():\n    """It', True, True),
        ('def f():\n    """It\'s "so" ', True, True),
        ('def f():\n    """It."""', False, False),
        ("def f():\n    '''It # is\n", True, True),
        ('x = ""', False, False),
        ('x = "#', False, True),
        ("x = 'never closed\ny = 1", False, False),
        ("x = f'{", False, True),
        ("x = f'{y", False, True),
        ("x = f'{y}'", False, False),
        ('x = f"{d["k"]}"', False, False),
        ('x = f"""{d["k"', False, True),
        ('x = f"""{d["k"]}', True, True),
        ('x = f"{y}"\n', False, False),
    ],
)
def test_state_at_the_end_of_a_text(text: str, in_prose: bool, is_open: bool) -> None:
    line = at_end(text)
    assert (line.in_prose, line.is_open) == (in_prose, is_open)


@settings(max_examples=500)
@given(PIECES)
def test_code_lines_are_those_read_one_character_at_a_time(text: str) -> None:
    line, start, expected = LogicalLine(), 0, []
    for position, character in enumerate(text):
        if line.feed(character):
            if line.has_code:
                expected.append(CodeLine(start, line.column, line.head, line.last))
            line.restart()
            start = position + 1
    assert list(code_lines(text)) == expected
