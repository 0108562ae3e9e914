"""Prompts cut from functions, and which completions are code."""

import ast

import pytest

from codeling.evaluation.syntax import body_outcome, function_prompt, is_stub_text


@pytest.mark.parametrize(
    "text, prompt",
    [
        ("def f(x):\n    return x\n", "def f(x):\n"),
        ("def f(x): return x\n", "def f(x):"),
        ("async def f(\n    x,\n):\n    return x", "async def f(\n    x,\n):\n"),
        (
            'def f():\n    """Doc.\n\n    More."""\n    pass',
            'def f():\n    """Doc.\n\n    More."""\n',
        ),
        ('def f():\n    """Doc."""; return 1\n', 'def f():\n    """Doc.""";'),
        ("def f():\n    # why\n    return 1\n", "def f():\n    # why\n"),
        ("@cache\ndef f():\n    return 1\n", "@cache\ndef f():\n"),
        ("def f():\n    @g\n    def h(): ...\n    return h\n", "def f():\n"),
        ("    def f(self):\n        return 1\n", "def f(self):\n"),
        ("def f(self):\n        'é'\n        return 1\n", "    def f(self):\n        'é'\n"),
        ("def f(self, 変=1):\r\n\treturn 1\r\n", "def f(self, 変=1):\n"),
        (
            'def f():\n        """Doc.\n  odd"""\n        x\n',
            '    def f():\n        """Doc.\n  odd"""\n',
        ),
        ("def f():\n            x\n            y\n", "        def f():\n"),
        ("def f():\n    'a\\x0cb\x0cc'\n    return '\\d'\n", "def f():\n    'a\\x0cb\x0cc'\n"),
        ('def f():\n    """Doc."""\n', None),
        ("class A:\n    pass\n", None),
        ("def f():\n    print 1\n", None),
        ("def f(:\n", None),
        ("x = 1\ndef f():\n    pass\n", None),
        ("def f():\n    return '\0'\n", None),
        ("", None),
    ],
)
def test_the_prompt_ends_where_the_body_begins(text: str, prompt: str | None) -> None:
    assert function_prompt(text) == prompt
    if prompt is not None:
        margin = " " * (len(prompt) - len(prompt.lstrip()) + 4)
        body = f"{margin}pass\n" if prompt.endswith("\n") else f"\n{margin}pass\n"
        assert ast.parse("if True:\n" * margin.startswith("     ") + prompt.rstrip(";") + body)


@pytest.mark.parametrize(
    "completion, expected",
    [
        ("    return x\n", "parsed"),
        ("    return '\\d'\n", "parsed"),
        ("    raise NotImplementedError\n", "parsed"),
        ("    x\n", "parsed"),
        ("    'more'\n    pass\n    x = 1\n", "parsed"),
        ("    if x:\n        pass\n", "parsed"),
        ("    return 0\n", "parsed"),
        ("    pass\n", "stub"),
        ("    ...\n", "stub"),
        ("    return\n", "stub"),
        ("    return None\n", "stub"),
        ("    1\n", "stub"),
        ("    # x = 1\n    pass\n", "stub"),
        ("    'noise (('\n", "stub"),
        ("    'a'\n    pass\n    return\n", "stub"),
        ("x = 1\n", "stub"),
        ("    return (x\n", "broken"),
        ("  x\n      y\n", "broken"),
        ("    return '\0'\n", "broken"),
        ("    x = " + "(" * 500 + "1" + ")" * 500 + "\n", "broken"),
        ("", "empty"),
        ("  \n\n", "empty"),
    ],
)
def test_outcomes_of_a_body(completion: str, expected: str) -> None:
    assert body_outcome('def f(x):\n    """Doc."""\n', completion) == expected


def test_a_method_is_parsed_inside_a_block() -> None:
    assert body_outcome("    def f(self):\n", "        return 1\n") == "parsed"
    assert body_outcome("    def f(self):\n", "    return 1\n") == "broken"


@pytest.mark.parametrize(
    "prompt, completion, expected",
    [
        ("def f(x):", " return x\n", "parsed"),
        ("def f(x):", " pass\n", "stub"),
        ("@cache\ndef f():\n", "    pass\n", "stub"),
        ("async def f():\n", "    await g()\n", "parsed"),
        ("    def f(self):\n        'Doc.'\n", "        'more'\n", "stub"),
        ("    def f(self):\n        'Doc.'\n", "        self.x = 1\n", "parsed"),
    ],
)
def test_a_docstring_in_the_prompt_is_not_code(prompt: str, completion: str, expected: str) -> None:
    assert body_outcome(prompt, completion) == expected


@pytest.mark.parametrize(
    "text, stub",
    [
        ("        pass", True),
        ("    'a'\n    return", True),
        ("", True),
        ("    else:", False),
        ("    x = (", False),
        ("    return x", False),
    ],
)
def test_lines_of_a_body_are_stubs_only_if_they_parse_and_do_nothing(text: str, stub: bool) -> None:
    assert is_stub_text(text) == stub
