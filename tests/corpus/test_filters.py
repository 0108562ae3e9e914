import ast
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeling.corpus import filters
from codeling.corpus.extract import Function
from codeling.recipe import CorpusRecipe

RECIPE = CorpusRecipe()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"x = 1\r\ny = 2\rz = 3\n", "x = 1\ny = 2\nz = 3\n"),
        (b"\xef\xbb\xbfx = 1\n", "x = 1\n"),
        ("# coding: latin-1\ns = 'é'\n".encode("latin-1"), "# coding: latin-1\ns = 'é'\n"),
        ("#!/bin/x\n# vim: fileencoding=cp1251\nя = 1\n".encode("cp1251"),
         "#!/bin/x\n# vim: fileencoding=cp1251\nя = 1\n"),
        (b"", ""),
    ],
)  # fmt: skip
def test_decodes_as_python_does(data: bytes, text: str) -> None:
    assert filters.decode(data) == text


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"x = 1\0\n", "nul_bytes"),
        ("x = 1\n".encode("utf-16"), "nul_bytes"),
        (b"s = '\xe9'\n", "wrong_encoding"),
        (b"# coding: no-such-codec\n", "wrong_encoding"),
        (b"# coding: rot13\nk = 1\n", "wrong_encoding"),
        (b"\xef\xbb\xbf# coding: latin-1\n", "wrong_encoding"),
        (b"# coding: unicode_escape\ns = '\\ud800'\n", "wrong_encoding"),
    ],
)
def test_what_is_no_text_has_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(filters.UndecodableError, match=f"^{reason}$"):
        filters.decode(data)


@given(st.binary(max_size=80))
def test_decode_raises_nothing_else(data: bytes) -> None:
    try:
        text = filters.decode(data)
    except filters.UndecodableError as error:
        assert str(error) in {"nul_bytes", "wrong_encoding"}  # noqa: PT017
    else:
        assert "\r" not in text


@given(st.text(max_size=60))
def test_alphanumerics_are_those_of_str(text: str) -> None:
    assert filters.alphanumerics(text) == sum(c.isalnum() for c in text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \n\t\n", "empty"),
        ("x = 1\n", "too_small"),
        ("value = 1\n" * 100_001, "too_large"),
        ("é" * 600_000 + "\n", "too_large"),
        ("value = 1\n" * 50 + "x" * 1001 + "\n", "long_line"),
        ("value = 1\n" * 50 + "x" * 1000 + "\n", None),
        (("x" * 101 + "\n") * 20, "long_mean_line"),
        (("x" * 100 + "\n") * 20, None),
        ("# ----------------------------------------\n" * 3 + "a", "few_alphanumerics"),
        ("TABLE = [\n" + "    (0x41, 97),\n" * 40 + "]\n", "few_letters"),
        ("ÀÉÎ = " + "1, " * 5 + "ÄÖÜ" * 3 + "\n", None),
        ("def mean(xs):\n    return sum(xs) / len(xs)\n", None),
    ],
)
def test_the_first_objection_names_the_reason(text: str, reason: str | None) -> None:
    assert filters.drop_reason(text, RECIPE) == reason


@pytest.mark.parametrize(
    "text",
    [
        "print 1\n", "def f(:\n", "(" * 5000, "-" * 40_000 + "1", "a" + ".b" * 40_000,
        "lambda: " * 3000, "s = '\\d'\n", "x = 1 is 2\n", "return 1\n", "async def f(): await x\n",
    ],
)  # fmt: skip
def test_python3_is_what_ast_says_and_nothing_escapes(text: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(text)
    except (SyntaxError, RecursionError, MemoryError, ValueError):
        expected = False
    else:
        expected = True
    assert filters.parses_as_python3(text) is expected


def function(lines: int, docstring: str = "", is_empty: bool = False) -> Function:
    return Function("f", "", [], docstring, [], 5, 4 + lines, is_empty)


@pytest.mark.parametrize(
    ("found", "required", "reason"),
    [
        (function(3), False, None),
        (function(2), False, "few_lines"),
        (function(9, is_empty=True), False, "empty_body"),
        (function(9), True, "no_docstring"),
        (function(9, "Say."), True, None),
    ],
)
def test_function_reasons(found: Function, required: bool, reason: str | None) -> None:
    recipe = CorpusRecipe(require_docstring=required)
    assert filters.function_drop_reason(found, recipe) == reason
