"""One function of a held-out file, completed in its file: the model alone, and with a memory.

The file is drawn, not chosen: the first of a random order that has a function of a few lines after
enough text.
"""

import ast
from collections.abc import Iterable
from dataclasses import dataclass

from codeling.evaluation.data.document_sample import LocatedText, shuffled
from codeling.evaluation.syntax import body_statements, first_line, is_stub, parse
from codeling.generation.engine import Engine
from codeling.generation.memory import Memory

MIN_BEFORE, MAX_BEFORE = 3_000, 30_000
"""Characters before the function."""
BODY_LINES = range(3, 13)


@dataclass(frozen=True)
class FileExample:
    """A function body that was completed in its file."""

    repository: str
    path: str
    line: int
    """The body's first line, from 1."""
    head: str
    """The lines from ``def`` to the body."""
    original: str
    """The body in the file."""
    alone: str
    """Written by the model alone."""
    with_memory: str
    """Written with the memory."""


def complete_in_file(
    engine: Engine,
    memory: Memory,
    documents: Iterable[LocatedText],
    max_new_tokens: int,
    seed: int = 0,
) -> FileExample | None:
    """Complete a function of one of ``documents``; None if no document has a usable one."""
    for document in shuffled(documents, seed):
        for function in _functions(document.text):
            lines = document.text.splitlines(keepends=True)
            first = first_line(body_statements(function)[0])
            before = "".join(lines[: first - 1])
            if not MIN_BEFORE <= len(before) <= MAX_BEFORE:
                continue
            texts = []
            kept = engine.memory
            for engine.memory in (None, memory):
                answer = engine.complete(
                    before, stop_at_block_end=True, max_new_tokens=max_new_tokens
                )
                texts.append(answer.text)
            engine.memory = kept
            return FileExample(
                document.repository,
                document.path,
                first,
                "".join(lines[function.lineno - 1 : first - 1]),
                "".join(lines[first - 1 : function.end_lineno]),
                *texts,
            )
    return None


def _functions(text: str) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The functions whose body has a few lines, in the order of the file."""
    tree = parse(text)
    if tree is None or any(separator in text for separator in "\r\f\v\x85\u2028\u2029\x1c\x1d\x1e"):
        return []
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = body_statements(node)
            if not body or is_stub(body) or first_line(body[0]) == node.lineno:
                continue
            if (node.end_lineno or 0) - first_line(body[0]) + 1 in BODY_LINES:
                found.append(node)
    return sorted(found, key=lambda node: node.lineno)
