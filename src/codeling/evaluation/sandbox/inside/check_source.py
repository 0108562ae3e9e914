"""Static analysis of a check's source, which a program cannot influence.

It finds where a check relies on something that does not reach the program's process, and which
exceptions the check raises independently of the program.
"""

import ast
import builtins
import opcode
from types import TracebackType
from typing import Any

_RAISE = opcode.opmap["RAISE_VARARGS"]
_STREAMS = {"stdin", "stdout", "stderr", "input", "print"}
_INTROSPECTION = {"gc", "weakref", "pickle", "tracemalloc", "sqlite3", "subprocess"}


class CheckSource:
    """A check, read once.

    :raises SyntaxError: the check is not Python; also ValueError, RecursionError, MemoryError.
    """

    def __init__(self, text: str) -> None:
        self.lines = text.splitlines()
        self.code = compile(text, "<check>", "exec", dont_inherit=True)
        self._tree = ast.parse(text)

    def not_carried(self) -> str:
        """A part of the check that has no effect on the program; empty if there is none."""
        modules = _imported_modules(self._tree)
        for node in ast.walk(self._tree):
            if reason := _reason(node, modules):
                return f"line {getattr(node, 'lineno', 1)}: {reason}"
        return ""

    def raises_itself(self, error: BaseException) -> bool:
        """Whether the check raises ``error`` whatever the program answers.

        So does a statement directly in a ``with`` block that is a ``raise``, or that reads no
        name but Python's own, as ``1 / 0``. One in an ``if`` or ``try`` may depend on an answer.
        """
        trace = _innermost(error.__traceback__)
        if trace is None or trace.tb_frame.f_code.co_filename != "<check>":
            return False
        raises = trace.tb_frame.f_code.co_code[trace.tb_lasti] == _RAISE
        statements = [
            statement
            for block in ast.walk(self._tree)
            if isinstance(block, ast.With | ast.AsyncWith)
            for statement in block.body
            if statement.lineno <= trace.tb_lineno <= (statement.end_lineno or statement.lineno)
        ]
        return bool(statements) and all(
            (raises and isinstance(each, ast.Raise)) or _is_closed(each) for each in statements
        )

    def line(self, error: BaseException) -> str:
        """The innermost line of the check in the traceback, for people."""
        found = ""
        trace = error.__traceback__
        while trace is not None:
            in_check = trace.tb_frame.f_code.co_filename == "<check>"
            if in_check and trace.tb_lineno <= len(self.lines):
                text = self.lines[trace.tb_lineno - 1].strip()[:200]
                found = f"check line {trace.tb_lineno}: {text}"
            trace = trace.tb_next
        return found


def _innermost(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace


def _is_closed(statement: ast.stmt) -> bool:
    """Whether a simple statement reads no name but Python's own."""
    if hasattr(statement, "body"):
        return False
    names = [node.id for node in ast.walk(statement) if isinstance(node, ast.Name)]
    return all(hasattr(builtins, name) for name in names)


def _imported_modules(tree: ast.Module) -> set[str]:
    names = {"builtins"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    return names


def _reason(node: ast.AST, modules: set[str]) -> str:
    if isinstance(node, ast.Attribute) and node.attr == "__class__":
        return "it reads __class__ of an object; use type() instead"
    if isinstance(node, ast.AST) and type(node).__name__ == "MatchClass":
        return "a class pattern is matched"
    if isinstance(node, ast.Import):
        found = {alias.name.partition(".")[0] for alias in node.names} & _INTROSPECTION
        return f"{min(found)} is used" if found else ""
    if isinstance(node, ast.ImportFrom):
        top = (node.module or "").partition(".")[0]
        return f"{top} is used" if top in _INTROSPECTION else ""
    if isinstance(node, ast.Call) and (patched := _patched(node)):
        return f"{patched} is replaced, in the check's process alone"
    if isinstance(node, ast.Assign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            if replaced := _attribute_of_module(target, modules):
                return f"{replaced} is replaced, in the check's process alone"
    return ""


def _attribute_of_module(target: ast.AST, modules: set[str]) -> str:
    while isinstance(target, ast.Subscript):
        target = target.value
    if not (isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name)):
        return ""
    if target.value.id not in modules or target.attr in _STREAMS:
        return ""
    return f"{target.value.id}.{target.attr}"


def _patched(call: ast.Call) -> str:
    """The name that ``mock.patch`` replaces, unless it is a standard stream, input or print."""
    text = ast.unparse(call.func)
    parts: Any = text.split(".")
    if "patch" not in parts:
        return ""
    names = [a.value for a in call.args if isinstance(a, ast.Constant) and type(a.value) is str]
    if names and names[0].rpartition(".")[2] in _STREAMS:
        return ""
    return names[0] if names else "an object"
