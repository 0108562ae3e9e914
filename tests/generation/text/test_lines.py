"""State of a logical line: open strings, brackets, comments and docstrings."""

import pytest

from codeling.generation.text.lines import LogicalLine


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
