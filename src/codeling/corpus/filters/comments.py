"""How much of a file is comments and docstrings: BigCode's comment-to-code ratio.

Source: ``preprocessing/utils/text_extraction.py`` (``get_text_python``) of BigCode's dataset
scripts, as used for SantaCoder (Ben Allal et al. 2023): characters of docstrings of the module,
its classes and functions, cleaned of their indentation, and of comments without their ``#``, over
all characters. Deviations: theirs is read by ``ast`` and ``tokenize`` and finds nothing in a file
that Python 3 refuses, and passes over coroutines; ours is read by tree-sitter and does not.
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
    """Characters of comments and docstrings among all of ``text``; 0 of an empty one."""
    return len(comment_text(text)) / len(text) if text else 0.0


def comment_text(text: str) -> str:
    """The docstrings, a line between them, and the comments, joined as BigCode joins them."""
    if "#" not in text and '"' not in text and "'" not in text:
        return ""
    root = Parser(LANGUAGE).parse(text.encode()).root_node
    found = QueryCursor(_TEXTS).captures(root)
    docstrings = "\n".join(filter(None, map(_inside, _in_order(found.get("docstring", [])))))
    comments = "".join(map(_text, _in_order(found.get("comment", [])))).replace("#", "")
    return f"{docstrings}\n{comments}".strip()


def _in_order(nodes: list[Node]) -> list[Node]:
    """By their place, each once: a node may be captured by several patterns."""
    return [node for _, node in sorted({node.start_byte: node for node in nodes}.items())]


def _inside(node: Node) -> str:
    """A docstring between its quotes, without its indentation; empty for bytes and f-strings."""
    text = _text(node)
    opening = _PREFIX_AND_QUOTES.match(text)
    if opening is None:
        return ""
    return inspect.cleandoc(text[opening.end() :].removesuffix(opening[1]))


def _text(node: Node) -> str:
    return (node.text or b"").decode("utf-8", "replace")
