"""Whether a file is Python at all: by its name, by its first lines, by how much of it parses.

A shard of "Python" may hold other languages. The name and the first lines cost nothing and are
asked of every file; the share of bytes that tree-sitter's grammar (Python 2 and 3) cannot place
takes a parse. This module must not read files.

Sources: the extensions of Python in GitHub's linguist (``languages.yml``), without those that it
shares with other languages; BigCode's filter of XML (``preprocessing/filtering.py``: ``<?xml
version=`` among the first 100 characters; here a file has to begin with it, so that a string may
hold it), and the same for HTML and PHP.
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
_PARSING = threading.Lock()


def is_other_by_name(path: str) -> bool:
    """Whether the extension of ``path`` is one that is not Python's; none says nothing."""
    suffix = PurePosixPath(path).suffix.lower()
    return suffix != "" and suffix not in EXTENSIONS


def is_other_by_head(text: str) -> bool:
    """Whether the first lines are of a page, or the ``#!`` line names another interpreter.

    A shell's ``#!`` line with ``python`` among the first five lines is the old way to find an
    interpreter from within a script that is Python nevertheless.
    """
    if _MARKUP.match(text):
        return True
    shebang = _SHEBANG.match(text)
    if shebang is None:
        return False
    head = "\n".join(text[:2000].split("\n", 5)[:5]).lower()
    return "python" not in head and "pypy" not in head


def error_fraction(text: str) -> float:
    """Share of the bytes of ``text`` that stand in no rule of Python's grammar, old or new."""
    data = text.encode()
    root = Parser(LANGUAGE).parse(data).root_node
    return _error_bytes(root) / max(len(data), 1)


def _error_bytes(root: Node) -> int:
    """Bytes within the outermost nodes of error."""
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

    Meanwhile warnings about odd escapes are silenced, and so is the garbage collector, which
    has nothing to find in a syntax tree (a sixth of the time). Both are the whole process's,
    hence the lock.
    """
    with _PARSING:
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
