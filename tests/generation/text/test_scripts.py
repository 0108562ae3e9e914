"""A script ends at a stop word in column 0 and nowhere else."""

import pytest

from codeling.generation.text.blocks import is_in_definition
from codeling.generation.text.scripts import ScriptEnd

WORDS = ("class", "def", "#", "@", "print", "if", '"""')


def cut(prompt: str, text: str, pieces: int = 1) -> str:
    end = ScriptEnd(prompt, WORDS)
    size = max(1, len(text) // pieces)
    shown = "".join(end.feed(text[i : i + size]) for i in range(0, len(text), size))
    return shown + end.finish()


@pytest.mark.parametrize(
    "completion, kept",
    [
        (" sorted(x)\ny = 1\nprint(y)\n", " sorted(x)\ny = 1\n"),
        (" 1\n# and then\n", " 1\n"),
        (" 1\n\n\ndef f():\n    pass\n", " 1\n\n\n"),
        (" 1\nif x:\n    y\n", " 1\n"),
        (" 1\nif", " 1\n"),
        (" 1\niffy = 2\nprinted = 3\n", " 1\niffy = 2\nprinted = 3\n"),
        (" (\nprint,\n# no\n1)\ny = 2\n", " (\nprint,\n# no\n1)\ny = 2\n"),
        (" '''\ndef f():\n'''\ny = 2\n", " '''\ndef f():\n'''\ny = 2\n"),
        (" 1 \\\n  if x else 2\n", " 1 \\\n  if x else 2\n"),
        (" 1\nfor x in y:\n    print(x)\n", " 1\nfor x in y:\n    print(x)\n"),
        (" 1\npri", " 1\npri"),
        ("", ""),
    ],
)
def test_a_script_ends_before_a_stop_word_in_column_0(completion: str, kept: str) -> None:
    prompt = "# a comment, a def and a print\ndef f():\n    pass\nprint(1)\nx ="
    for pieces in (1, 3, 1000):
        assert cut(prompt, completion, pieces) == kept


def test_the_unfinished_line_of_the_prompt_is_not_checked() -> None:
    assert cut("x = [\n", "print(1)]\nprint(2)\n") == "print(1)]\n"
    assert cut("import os\n", "print(1)\nprint(2)\n") == "print(1)\n"


@pytest.mark.parametrize(
    "prompt, expected",
    [
        ("def f(x):\n    '''Doc.'''\n", True),
        ("class A:\n", True),
        ("def f(x):\n    return x\n\nx =", False),
        ("def f(x):\n    return [\n", True),
        ("x =", False),
        ('"""Write a function."""\n', False),
        ("if x:\n", False),
        ("", False),
    ],
)
def test_a_prompt_inside_a_definition_is_recognised(prompt: str, expected: bool) -> None:
    assert is_in_definition(prompt) is expected
