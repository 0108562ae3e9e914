"""Middles along the syntax: always within the text, and what a parser would call one."""

import ast
import inspect
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeling.dataset import syntax_cuts
from codeling.dataset.syntax_cuts import choose_middle

TEXT = '''def mean(xs, key=(1, 2)):
    """Say (this)."""
    if not xs:  # nothing (at all
        return 0
    total = f(
        [xs, "]"],
    )
    return total / len(xs)


x = mean([1])
'''
EXPECTED = {
    "return 0",
    "\n        return 0",  # the body of a header, whose comment belongs to its line
    'total = f(\n        [xs, "]"],\n    )',
    "xs, key=(1, 2)",
    "1, 2",
    "[1]",
    "1",
    'xs, "]"',
    "x = mean([1])",
    "return total / len(xs)",
}


def middles(text: str, number: int = 4000) -> set[str]:
    found = set()
    for seed in range(number):
        span = choose_middle(text, np.random.Generator(np.random.PCG64(seed)))
        assert span is not None
        found.add(text[span[0] : span[1]])
    return found


def test_statements_bodies_arguments_and_ends_of_lines_are_middles() -> None:
    found = middles(TEXT)
    assert found >= EXPECTED
    assert "ean(xs, key=(1, 2)):" in found
    whole = TEXT[: TEXT.index("\n\n\nx")]
    assert any(each.startswith("\n") and whole.endswith(each) for each in found)
    assert "this" not in found  # brackets in a string


def test_statements_parse() -> None:
    text = Path(inspect.getsourcefile(syntax_cuts) or "").read_text("utf-8")
    lines, _ = syntax_cuts._read(text)
    for seed in range(300):
        random = np.random.Generator(np.random.PCG64(seed))
        begin, end = syntax_cuts._statements(lines, random)
        column = begin - (text.rfind("\n", 0, begin) + 1)
        source = " " * column + text[begin:end]
        if not text[begin:].startswith(("else", "elif", "except", "finally", "#", ")")):
            ast.parse("if True:\n" + source if column else source)


@given(st.text("ab:=()[]\"'#\n é\\", max_size=60), st.integers(0, 99))
def test_any_text_is_cut_within_it(text: str, seed: int) -> None:
    span = choose_middle(text, np.random.Generator(np.random.PCG64(seed)))
    if span is None:
        assert not text.strip()
    else:
        assert 0 <= span[0] < span[1] <= len(text)
        assert text[span[0] : span[1]].strip()


@pytest.mark.parametrize("text", ["", "\n\n", "   "])
def test_a_text_without_code_has_none(text: str) -> None:
    assert choose_middle(text, np.random.Generator(np.random.PCG64(0))) is None
