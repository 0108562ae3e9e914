"""Kinds of characters: against Python's own tokenizer, and counted by hand."""

import io
import keyword
import tokenize
from itertools import pairwise
from pathlib import Path

from codeling.evaluation.keystrokes import kinds
from codeling.evaluation.keystrokes.kinds import LINE_KINDS, WORD_KINDS, line_kinds, word_kinds


def test_kinds_agree_with_pythons_tokenizer() -> None:
    text = Path(kinds.__file__).read_text("utf-8")
    found = word_kinds(text)
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    for token, following in pairwise(tokens):
        begin = starts[token.start[0] - 1] + token.start[1]
        if token.type == tokenize.NAME:
            is_call = following.string == "("
            expected = "calls" if is_call else "names"
            expected = "keywords" if keyword.iskeyword(token.string) else expected
        elif token.type == tokenize.COMMENT:
            expected = "comments"
        elif token.type == tokenize.OP:
            expected = "punctuation"
        else:
            continue
        assert set(found[begin : begin + len(token.string)]) == {expected}, token
    assert len(found) == len(text)
    assert set(found) <= set(WORD_KINDS)


def test_a_line_that_occurs_above_with_any_indentation_is_repeated() -> None:
    text = "x = 1\nif x:\n    x = 1\n\n\ny = f'{x}'"
    expected = {"x = 1\n": LINE_KINDS[0], "if x:\n": LINE_KINDS[0], "    x = 1\n": LINE_KINDS[1]}
    found = line_kinds(text)
    assert len(found) == len(text)
    for line, kind in expected.items():
        begin = text.index(line)
        assert set(found[begin : begin + len(line)]) == {kind}
