"""Share of a file that is comments and docstrings: BigCode's comment-to-code ratio.

Source: ``preprocessing/utils/text_extraction.py`` (``get_text_python``) of BigCode's dataset
scripts, as used for SantaCoder (Ben Allal et al. 2023). The ratio is the number of characters in
docstrings (module, classes, functions; indentation removed) and comments (``#`` removed), divided
by the number of characters in the file. Deviation: BigCode uses ``ast`` and ``tokenize``, which
find nothing in a file that Python 3 rejects, and it ignores coroutines. This module uses
tree-sitter, which has neither limit.

This module must not read files.
"""

import inspect
import re

from tree_sitter import Node, Parser, Query, QueryCursor

from codeling.corpus.extract import LANGUAGE

_TEXTS = Query(
    LANGUAGE,
    """
    (comment) @comment
    (module . (comment)* . (expression_statement . (string) @docstring .))
    (class_definition body: (block . (comment)* . (expression_statement . (string) @docstring .)))
    (function_definition
      body: (block . (comment)* . (expression_statement . (string) @docstring .)))
    """,
)
_PREFIX_AND_QUOTES = re.compile(r"^[rRuU]?(\"\"\"|'''|\"|')")


def comment_fraction(text: str) -> float:
    """Share of the characters of ``text`` in comments and docstrings; 0.0 if it is empty."""
    return len(comment_text(text)) / len(text) if text else 0.0


def comment_text(text: str) -> str:
    """Docstrings separated by newlines, then the comments, joined as in BigCode's code."""
    if "#" not in text and '"' not in text and "'" not in text:
        return ""
    root = Parser(LANGUAGE).parse(text.encode()).root_node
    captures = QueryCursor(_TEXTS).captures(root)
    docstrings = "\n".join(filter(None, map(_docstring, _in_order(captures.get("docstring", [])))))
    comments = "".join(map(_text, _in_order(captures.get("comment", [])))).replace("#", "")
    return f"{docstrings}\n{comments}".strip()


def _in_order(nodes: list[Node]) -> list[Node]:
    """Sort by position and remove duplicates: several patterns may capture one node."""
    return [node for _, node in sorted({node.start_byte: node for node in nodes}.items())]


def _docstring(node: Node) -> str:
    """Docstring without quotes and indentation; empty for bytes and f-strings."""
    text = _text(node)
    opening = _PREFIX_AND_QUOTES.match(text)
    if opening is None:
        return ""
    return inspect.cleandoc(text[opening.end() :].removesuffix(opening[1]))


def _text(node: Node) -> str:
    return (node.text or b"").decode("utf-8", "replace")
