import ast
import inspect
import io
import itertools
import textwrap
import tokenize
import types
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from codeling.generation.text import blocks
from codeling.generation.text.blocks import BlockEnd, cut_at_block_end, cut_unfinished

DEF = "def mean(xs):\n"

# name -> (prompt, completion, the part of it that belongs to the block)
CASES = {
    "next function": (DEF, "    return 1\n\n\ndef other():\n    pass\n", "    return 1\n"),
    "module code": (DEF, "    return 1\nprint(mean([1]))\n", "    return 1\n"),
    "nothing written": (DEF, "\ndef other():\n", ""),
    "blank lines inside": (DEF, "    a = 1\n\n    return a\nx", "    a = 1\n\n    return a\n"),
    "blank lines with blanks": (DEF, "    a = 1\n  \n    b = 2\n@d", "    a = 1\n  \n    b = 2\n"),
    "trailing blank lines": (DEF, "    return 1\n\n   \n", "    return 1\n"),
    "comment at column 0 inside": (
        DEF,
        "    a = 1\n# note\n    return a\ny = 1",
        "    a = 1\n# note\n    return a\n",
    ),
    "comment at column 0 after": (DEF, "    return 1\n\n# next\ndef f(): 1\n", "    return 1\n"),
    "comment of the block": (DEF, "    return 1\n    # done\nx", "    return 1\n    # done\n"),
    "brackets at column 0": (DEF, "    return [\n1,\n]\nx = 2\n", "    return [\n1,\n]\n"),
    "brackets in strings": (DEF, '    return "(["\nx = 2\n', '    return "(["\n'),
    "brackets in comments": (DEF, "    return 1  # ([\nx = 2\n", "    return 1  # ([\n"),
    "triple quotes": (DEF, '    """a\ndef b():\n"""\ndef c', '    """a\ndef b():\n"""\n'),
    "quotes in triple quotes": (
        DEF,
        '    """a "quoted" \'\'\'b\n""c\n\\"""\n"""\nd',
        '    """a "quoted" \'\'\'b\n""c\n\\"""\n"""\n',
    ),
    "empty strings": (DEF, "    return '' + \"\"\nx", "    return '' + \"\"\n"),
    "escaped quotes": (DEF, "    a = 'it\\'s ('\nx = 1", "    a = 'it\\'s ('\n"),
    "continuation line": (DEF, "    return 1 + \\\n2\nx = 1\n", "    return 1 + \\\n2\n"),
    "continued string": (DEF, "    a = 'b\\\nc'\nd = 1", "    a = 'b\\\nc'\n"),
    "carriage returns": (DEF, "    a = 1 \\\r\n+ 2\r\n\r\nx = 1", "    a = 1 \\\r\n+ 2\r\n"),
    "unclosed string": (DEF, "    a = 'b\nx = 1\n", "    a = 'b\n"),
    "unmatched bracket": (DEF, "    a = 1)\nx = 1\n", "    a = 1)\n"),
    "tabs": (DEF, "\tif 1:\n\t\treturn 1\n\treturn 2\nx", "\tif 1:\n\t\treturn 1\n\treturn 2\n"),
    "between def and body": (DEF, "    a = 1\n  b = 2\n", "    a = 1\n"),
    "nested": (
        DEF,
        "    def g():\n        pass\n    return g\nx",
        "    def g():\n        pass\n    return g\n",
    ),
    "else inside": (
        DEF,
        "    if a:\n        b\n    else:\n        c\ne",
        "    if a:\n        b\n    else:\n        c\n",
    ),
    "no line end": (DEF, "    return 1", "    return 1"),
    "body begun": (DEF + "    a = 1\n", "    return a\nx", "    return a\n"),
    "in the middle of a line": (DEF + "    a = ", "1\n    return a\nx", "1\n    return a\n"),
    "after the indentation": (DEF + "    ", "return 1\n    x\ny", "return 1\n    x\n"),
    "inside the docstring": (
        DEF + '    """Do',
        'c.\n\nA.\n"""\n    return\nx',
        'c.\n\nA.\n"""\n    return\n',
    ),
    "inside a loop": (DEF + "    for x in xs:\n", "        a\n    b\nc", "        a\n    b\n"),
    "inside the header": ("def mean(", "xs,\n):\n    return 1\n\ndef f", "xs,\n):\n    return 1\n"),
    "inside the name": ("x = 1\ndef me", "an(xs):\n    return 1\nx", "an(xs):\n    return 1\n"),
    "inside def itself": ("    x\n\nde", "f f():\n    return 1\nx", "f f():\n    return 1\n"),
    "own def comes second": ("def a(): pass\n" + DEF, "    return 1\ndef b", "    return 1\n"),
    "one line": ("def f(): ", "return 1\nx = 2\n", "return 1\n"),
    "one line in a class": ("class A:\n    def f(self): ", "pass\n    b = 1\n", "pass\n"),
    "async": ("async def f():\n", "    await g()\nx", "    await g()\n"),
    "class": (
        "class A:\n",
        "    x = 1\n\n    def f(self):\n        pass\ny",
        "    x = 1\n\n    def f(self):\n        pass\n",
    ),
    "method": (
        "class A:\n    def f(self):\n",
        "        return 1\n\n    def g",
        "        return 1\n",
    ),
    "name like def": ("default = 1\n", "defined = 2\nx = 3\n", "defined = 2\n"),
    "compound": ("if a:\n", "    b\nelse:\n    c\nelsewhere = 1\n", "    b\nelse:\n    c\n"),
    "compound, then a word like a clause": ("if a:\n", "    b\nelsewhere = 1\n", "    b\n"),
    "try": (
        "try:\n",
        "    a\nexcept E:\n    b\nfinally:\n    c\nd",
        "    a\nexcept E:\n    b\nfinally:\n    c\n",
    ),
    "statement": ("import os\n", "import re\nimport sys\n", "import re\n"),
    "rest of a statement": ("x = [\n", "1,\n]\ny", "1,\n]\n"),
    "statement that is a function": (
        "x = 1\n",
        "\ndef f():\n    pass\n\ny",
        "\ndef f():\n    pass\n",
    ),
    "decorator": ("x = 1\n", "@a\n@b\ndef f():\n    pass\ny", "@a\n@b\ndef f():\n    pass\n"),
    "after a decorator": (
        "class A:\n    @a\n",
        "    def f(self):\n        pass\n    x",
        "    def f(self):\n        pass\n",
    ),
    "two blank lines leave": (
        DEF + "    return 1\n\n\n",
        "def f():\n    pass\nx",
        "def f():\n    pass\n",
    ),
    "a comment leaves": (
        DEF + "    return 1\n\n# Adds.\n",
        "def f():\n    pass\nx",
        "def f():\n    pass\n",
    ),
    "inside a comment": ("x = 1\n# Add", "s.\ndef f():\n    pass\ny", "s.\ndef f():\n    pass\n"),
    "indentation leaves": (
        "class A:\n    def f(self):\n        pass\n\n    ",
        "x = 1\n\ny",
        "x = 1\n",
    ),
    "quotes within a formatted string": (
        DEF,
        '    return g(f"{d["#"]}")\nx = 1\n',
        '    return g(f"{d["#"]}")\n',
    ),
    "brackets within a formatted string": (
        DEF,
        '    a = f"{d["("]}" f"{b["["]:>{w}}"\n    return a\nx = 1\n',
        '    a = f"{d["("]}" f"{b["["]:>{w}}"\n    return a\n',
    ),
    "line ends within a formatted string": (
        DEF,
        '    return f"{\na\n}"\nx = 1\n',
        '    return f"{\na\n}"\n',
    ),
    "formatted string as the end of a header": (
        "",
        'if f"{x:"\ny = 1\n',
        'if f"{x:"\n',
    ),
    "a format specification is no header": (
        DEF,
        '    a = f"{x:3}"\n  \nb = 1\n',
        '    a = f"{x:3}"\n',
    ),
    "empty prompt": ("", "import os\nimport re\n", "import os\n"),
    "HumanEval": (
        'from typing import List\n\n\ndef f(x: List[int]) -> int:\n    """ Doc\n'
        '    >>> f([1])\n    1\n    """\n',
        "    return sum(x)\n\n\nif __name__ == '__main__':\n    f([])\n",
        "    return sum(x)\n",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_blocks_end_where_expected(name: str) -> None:
    prompt, completion, block = CASES[name]
    assert cut_at_block_end(prompt, completion) == block


PYTHONESQUE = st.lists(
    st.sampled_from(
        (
            "def f():\n",
            "    ",
            "\n",
            "x = 1",
            "return",
            "(",
            ")",
            '"',
            "'",
            '"""',
            "\\",
            "#",
            "\t",
            "else",
            ":",
            "@a",
            "class A:\n",
            "\r\n",
            "é",
            "if x:\n",
            "\f",
        )
    ),
    max_size=30,
).map("".join)


@settings(max_examples=100)
@given(PYTHONESQUE, PYTHONESQUE, st.data())
def test_the_result_does_not_depend_on_pieces_and_only_grows(
    prompt: str, completion: str, data: st.DataObject
) -> None:
    whole = cut_at_block_end(prompt, completion)
    assert completion.startswith(whole)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(completion)), max_size=6)))
    bounds = [0, *cuts, len(completion)]
    block = BlockEnd(prompt)
    pieces = [block.feed(completion[a:b]) for a, b in itertools.pairwise(bounds)]
    assert "".join(pieces) == whole


@settings(max_examples=100)
@given(PYTHONESQUE, PYTHONESQUE, PYTHONESQUE)
def test_text_after_the_end_does_not_matter(prompt: str, completion: str, more: str) -> None:
    block = BlockEnd(prompt)
    shown = block.feed(completion)
    if block.ended:
        assert cut_at_block_end(prompt, completion + more) == shown


def _state(prompt: str) -> tuple[object, ...]:
    block = BlockEnd(prompt)
    line = block._line
    line_state = line.column, line.head, line.last, line.is_blank, line.has_code, line.in_comment
    return block._open_blocks, block._block, block._after_decorator, line_state


@settings(max_examples=150)
@example(
    "def f():\n    if x:\n        y\nclass A:\n    def g(self):\n        if z:\n          (\n)\n"
)
@given(PYTHONESQUE)
def test_a_prompt_is_read_as_if_one_character_at_a_time(prompt: str) -> None:
    state = _state(prompt)
    with patch.object(blocks, "code_lines", lambda _: []):
        assert _state(prompt) == state


def _functions(module: types.ModuleType) -> list[tuple[str, int, int]]:
    """(source, line of the first statement, line after the last) of every plain function."""
    source = inspect.getsource(module)
    return [
        (source, node.body[0].lineno - 1, node.end_lineno or 0)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body[0].lineno > node.lineno
    ]


@pytest.mark.parametrize("module", [ast, inspect, textwrap], ids=lambda m: str(m.__name__))
def test_real_functions_end_where_ast_ends_them(module: types.ModuleType) -> None:
    functions = _functions(module)
    assert functions
    for source, first, end in functions[:60]:
        lines = source.splitlines(keepends=True)
        got = cut_at_block_end("".join(lines[:first]), "".join(lines[first : end + 40]))
        # Comments indented like the block belong to it; the syntax tree has no comments.
        rest = got.removeprefix("".join(lines[first:end]))
        assert len(rest) < len(got)
        assert all(not line.strip() or line.strip()[0] == "#" for line in rest.splitlines())


@pytest.mark.parametrize(
    "prompt, completion, expected",
    [
        ("def f():\n", "    a = 1\n    b = (1,\n  2", "    a = 1\n"),
        ("def f():\n", '    """Never\n    ended.\n', ""),
        ("def f():\n", "    a = 1\n    if a:\n", "    a = 1\n"),
        ("def f():\n", "    a = 1\n    # why\n\n    re", "    a = 1\n    # why\n\n"),
        ("x = [1,\n", "2]\ny", "2]\n"),
        ('s = """a', 'b"""\nc = \\\n1\nd = \\\n', 'b"""\nc = \\\n1\n'),
        ("def f():", " return 1", ""),
    ],
)
def test_only_whole_logical_lines_are_kept(prompt: str, completion: str, expected: str) -> None:
    assert cut_unfinished(prompt, completion) == expected


@pytest.mark.parametrize(("module", "step"), [(ast, 1_499), (textwrap, 211)])
def test_kept_lines_of_real_code_are_complete_for_tokenize(
    module: types.ModuleType, step: int
) -> None:
    text = inspect.getsource(module)
    for end in range(0, len(text), step):
        left = cut_unfinished("", text[:end])
        assert text.startswith(left)
        list(tokenize.generate_tokens(io.StringIO(left).readline))  # raises within a bracket
