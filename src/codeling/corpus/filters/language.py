"""Language detection: is a file Python, by its extension, its first lines and its syntax errors?

A shard labelled Python may contain other languages. The checks of extension and first lines are
cheap and run on every file. The share of bytes that tree-sitter's grammar (Python 2 and 3) cannot
parse requires a parse.

Sources: Python's extensions in GitHub's linguist (``languages.yml``), without those shared with
other languages; BigCode's XML filter (``preprocessing/filtering.py``), extended to HTML and PHP.
Deviation: BigCode searches the first 100 characters for ``<?xml version=``; here the file must
start with it, because a string literal may contain it.

This module must not read files.
"""

import ast
import gc
import re
import threading
import warnings
from pathlib import PurePosixPath

from tree_sitter import Node, Parser

from codeling.corpus.extract import LANGUAGE

EXTENSIONS = frozenset(
    (".py", ".pyw", ".pyi", ".py3", ".pyde", ".pyp", ".pyt", ".wsgi", ".xpy", ".tac", ".gyp")
)
_MARKUP = re.compile(r"\s*(?:<\?xml version=|<!doctype html|<html[ >]|<\?php)", re.IGNORECASE)
_SHEBANG = re.compile(r"#![^\n]*")
_AST_LOCK = threading.Lock()


def is_other_by_name(path: str) -> bool:
    """Whether ``path`` has an extension that is not Python's; False without an extension."""
    suffix = PurePosixPath(path).suffix.lower()
    return suffix != "" and suffix not in EXTENSIONS


def is_other_by_head(text: str) -> bool:
    """Whether the file starts as markup, or its ``#!`` line names another interpreter.

    A shell's ``#!`` line followed by ``python`` within the first five lines is accepted: some
    Python scripts start their interpreter through a shell.
    """
    if _MARKUP.match(text):
        return True
    shebang = _SHEBANG.match(text)
    if shebang is None:
        return False
    head = "\n".join(text[:2000].split("\n", 5)[:5]).lower()
    return "python" not in head and "pypy" not in head


def error_fraction(text: str) -> float:
    """Share of the bytes of ``text`` that neither Python 2's nor Python 3's grammar accepts."""
    data = text.encode()
    root = Parser(LANGUAGE).parse(data).root_node
    return _error_bytes(root) / max(len(data), 1)


def _error_bytes(root: Node) -> int:
    """Number of bytes in the outermost error nodes."""
    if not root.has_error:
        return 0
    total, todo = 0, [root]
    while todo:
        node = todo.pop()
        if node.is_error:
            total += node.end_byte - node.start_byte
        elif node.has_error:
            todo += node.children
    return total


def parses_as_python3(text: str) -> bool:
    """Whether the running interpreter's ``ast.parse`` accepts ``text``.

    Warnings about invalid escapes are silenced, and the garbage collector is paused, which saves
    a sixth of the time. Both settings are global to the process, so a lock protects them.
    """
    with _AST_LOCK:
        collecting = gc.isenabled()
        gc.disable()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
        finally:
            if collecting:
                gc.enable()
        return True
