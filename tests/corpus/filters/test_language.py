import ast
import warnings

import pytest

from codeling.corpus.filters import language


@pytest.mark.parametrize(
    "text",
    [
        "print 1\n", "def f(:\n", "(" * 5000, "-" * 40_000 + "1", "a" + ".b" * 40_000,
        "lambda: " * 3000, "s = '\\d'\n", "x = 1 is 2\n", "return 1\n", "async def f(): await x\n",
    ],
)  # fmt: skip
def test_python3_is_decided_by_ast_without_warnings_or_errors(text: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(text)
    except (SyntaxError, RecursionError, MemoryError, ValueError):
        expected = False
    else:
        expected = True
    assert language.parses_as_python3(text) is expected


@pytest.mark.parametrize(
    ("path", "other"),
    [
        ("a/b.py", False),
        ("a/B.PY", False),
        ("typings/a.pyi", False),
        ("bin/tool", False),
        ("a.tar/tool", False),
        (".hidden", False),
        ("", False),
        ("a.js", True),
        ("README.md", True),
        ("a.py.orig", True),
    ],
)
def test_an_extension_identifies_other_languages(path: str, other: bool) -> None:
    assert language.is_other_by_name(path) is other


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("import os\n", False),
        ("#!/usr/bin/env python2.7\nprint 1\n", False),
        ("#!/usr/bin/pypy\n", False),
        ("#!/bin/sh\n''''exec python3 -- \"$0\" # '''\nimport os\n", False),
        ("#!/bin/sh\necho hello\n", True),
        ("#!/usr/bin/env ruby\nputs 1\n", True),
        ("\n <?xml version='1.0'?>\n<a/>\n", True),
        ("TEXT = '<?xml version=\"1.0\"?>'\n", False),
        ("<!DOCTYPE html>\n<html>\n", True),
        ("<?php echo 1;\n", True),
        ("<html>\n", True),
        ("", False),
    ],
)
def test_the_first_lines_identify_other_languages(text: str, other: bool) -> None:
    assert language.is_other_by_head(text) is other


def test_the_share_of_errors_tells_python_from_other_languages() -> None:
    python2 = "class A:\n    def f(self):\n        print 'a', `self`\n        raise E, 'm'\n" * 9
    assert language.error_fraction(python2) < 0.05
    assert language.error_fraction("") == 0.0
    c = "#include <stdio.h>\nstatic int f(char *s) { if (!s) { return -1; } puts(s); }\n" * 9
    java = "public class A {\n  private static final int B = 1;\n  void f() { g(); }\n}\n" * 9
    prose = "It is not so that all of this, as one may think, is a program; it isn't.\n" * 9
    for text in (c, java, prose):
        assert language.error_fraction(text) > 0.2
    broken_end = "def f(x):\n    return x + 1\n\n\n" * 50 + "x = ) = 3\n"
    assert 0 < language.error_fraction(broken_end) < 0.2
