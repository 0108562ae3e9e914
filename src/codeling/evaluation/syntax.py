"""Syntax of Python functions: prompts cut from them, and whether a completion is code.

Everything here goes through ``ast``. Completions are model output: they are parsed, never run.
"""

import ast
import textwrap
import warnings
from collections.abc import Sequence
from typing import Literal

Outcome = Literal["parsed", "stub", "broken", "empty"]
"""``parsed``: Python with at least one statement that does something. ``stub``: Python without one.
``broken``: not Python. ``empty``: blank."""

_MIN_LINE = 3
"""Characters; a shorter line, such as a single bracket, says nothing."""


def parse(text: str) -> ast.Module | None:
    """The tree of ``text``; None where it is not Python 3."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes are still Python
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def parse_function(text: str) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """The function that ``text`` consists of; None where it is anything else."""
    tree = parse(text)
    if tree is None or len(tree.body) != 1:
        return None
    function = tree.body[0]
    return function if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) else None


def body_statements(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.stmt]:
    """The statements of ``function`` without its docstring."""
    return function.body[ast.get_docstring(function, clean=False) is not None :]


def first_line(statement: ast.stmt) -> int:
    """Line number of a statement, from 1; decorators count as part of it."""
    if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return statement.lineno
    return min([statement.lineno, *(each.lineno for each in statement.decorator_list)])


def normalized(text: str) -> str:
    """``text`` with line feeds as line ends and without common indentation."""
    return textwrap.dedent(text.replace("\r\n", "\n").replace("\r", "\n"))


def indent_def(text: str, body_column: int) -> str:
    """``text`` with its first line, a ``def``, indented four less than the body.

    A corpus cuts a method out from its ``def`` on, so the body keeps its eight or more spaces while
    the ``def`` has none. With the indentation of its file, a method ends where the next one begins.
    """
    return " " * (body_column - 4) + text


def function_prompt(text: str) -> str | None:
    """Signature and docstring of the function ``text``: everything before its first statement.

    The prompt ends with a line feed, unless the body starts on the line of the signature. None
    where ``text`` is not a single Python 3 function, or has no statement but its docstring.
    """
    text = normalized(text)
    function = parse_function(text)
    if function is None:
        return None
    body = body_statements(function)
    if not body:
        return None
    line = first_line(body[0])
    lines = text.split("\n")
    before = lines[line - 1].encode()[: body[0].col_offset].decode()
    prompt = "".join(f"{above}\n" for above in lines[: line - 1]) + before.rstrip()
    return prompt if line == function.lineno else indent_def(prompt, function.body[0].col_offset)


def parse_in_block(text: str) -> ast.Module | None:
    """:func:`parse` for text whose first line may be indented."""
    return parse(("if True:\n" if text.startswith(" ") else "") + text)


def is_stub(statements: Sequence[ast.stmt]) -> bool:
    """Whether ``statements`` do nothing.

    Constants as statements (a string, ``...``), ``pass`` and ``return`` without a value or with
    None do nothing. So a function with only such statements is a stub.
    """
    return all(
        isinstance(statement, ast.Pass)
        or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
        or (
            isinstance(statement, ast.Return)
            and (
                statement.value is None
                or (isinstance(statement.value, ast.Constant) and statement.value.value is None)
            )
        )
        for statement in statements
    )


def body_outcome(prompt: str, completion: str) -> Outcome:
    """Classify the ``completion`` of a :func:`function_prompt`."""
    if not completion.strip():
        return "empty"
    tree = parse_in_block(prompt + completion)
    if tree is None:
        return "broken"
    first = tree.body[0]
    function = first.body[0] if isinstance(first, ast.If) else first
    assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef), "the prompt is a function"
    return "stub" if is_stub(body_statements(function)) else "parsed"


def is_stub_text(completion: str) -> bool:
    """Whether whole lines of a body consist of statements that do nothing."""
    tree = parse(textwrap.dedent(completion))
    return tree is not None and is_stub(tree.body)


def code_lines(lines: Sequence[str], tree: ast.AST, first: int) -> list[int]:
    """Numbers of the lines of ``tree`` from ``first`` on, from 1, with code and not in a string."""
    in_strings = {
        number
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant | ast.JoinedStr)
        for number in range(node.lineno + 1, (node.end_lineno or node.lineno) + 1)
    }
    return [
        number
        for number, line in enumerate(lines, start=1)
        if number >= first
        and number not in in_strings
        and len(line.strip()) >= _MIN_LINE
        and not line.lstrip().startswith("#")
    ]
