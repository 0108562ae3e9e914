"""Functions and methods of a Python file, in the layout of CodeSearchNet.

The parser is tree-sitter, so Python 2 and broken files yield the functions that can be recognized.
One regular expression splits the tokens, which is faster than one node object per token. If a
replacement field of an f-string contains a quote, tree-sitter decides where the string ends.

The rules are those of CodeSearchNet's ``function_parser`` (Husain et al. 2019), checked against its
published rows. Functions at the top level of a module and methods of its top-level classes are
extracted. Decorators are not part of the text. ``code`` is the whole text with the docstring;
``code_tokens`` omit the docstring and keep comments. Docstring tokens are those of the first
paragraph. Deviation: classes may be decorated.
:func:`codeling.corpus.filters.rules.function_drop_reason` decides which functions are dropped.

This module must not read files and does not know repositories.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import tree_sitter_python
from tree_sitter import Language, Node, Parser, Query, QueryCursor

from codeling.python_lexer import mask_identifier_marks

LANGUAGE = Language(tree_sitter_python.language())
_FIELDS = Query(LANGUAGE, "(interpolation) @field")
_PREFIXES = Query(LANGUAGE, "(import_prefix) @prefix")

_NUMBER = (
    r"0[xX][0-9a-fA-F_]+[lL]?|0[oObB][0-7_]+[lL]?"
    r"|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d[\d_]*)?[jJlL]?"
)
_STRING = (
    r"[rRbBuUfFtT]{0,2}(?:"
    r"'''[^'\\]*(?:(?:\\[\s\S]|'(?!''))[^'\\]*)*'''"
    r'|"""[^"\\]*(?:(?:\\[\s\S]|"(?!""))[^"\\]*)*"""'
    r"|'[^'\\\n]*(?:\\[\s\S][^'\\\n]*)*'"
    r'|"[^"\\\n]*(?:\\[\s\S][^"\\\n]*)*")'
)
_OPERATOR = (
    r"\*\*=|//=|>>=|<<=|\.\.\.|->|:=|[-+*/%&|^@<>=!]=|<>|//|\*\*|<<|>>"
    r"|[-+*/%&|^~@<>=()\[\]{},:.`?!$]"
)
_PLAIN_WORD = r"[^\W\drRbBuUfFtT]\w*"
_PLAIN_OPERATOR = r"[()\[\]{},`?$]"
_TOKENS = re.compile(
    "|".join((r"#[^\n]*", _PLAIN_WORD, _PLAIN_OPERATOR, _STRING, _NUMBER, r"\w+", _OPERATOR))
)
"""Plain words and operators come first, because they are the most frequent tokens. Their first
character starts no other token."""
_QUOTED_FIELD = re.compile(r"""[fFtT][rR]?["'][^\n]*\{|[fFtT][rR]?(?:\"\"\"|''')""")
_FAR_RELATIVE = re.compile(r"\bfrom[\s\\]*\.[\s\\]*\.[\s\\]*\.")
_BLANK = frozenset({"comment", "line_continuation"})
_UNPACKS_AFTER = frozenset("(,{[") | {"lambda"}
_DOC_TOKENS = re.compile(
    r"[^\s,'\"`.():\[\]=*;>{}+\-/\\]+"
    r"|\\+|\.+|\(\)|\{\}|\[\]|\(+|\)+|:+|\[+|\]+|\{+|\}+|=+|\*+|;+|>+|\++|-+|/+"
)
"""The token classes of CodeSearchNet's ``tokenize_docstring``."""


@dataclass(frozen=True, slots=True)
class ExtractionOptions:
    """Options of the rows. The defaults give CodeSearchNet's published rows."""

    methods: bool = True
    """Extract methods of top-level classes in addition to top-level functions."""
    docstring_summary: bool = False
    """Reduce ``docstring`` to its first paragraph (CodeSearchNet's ``docstring_summary``)."""
    comment_tokens: bool = True
    """Include comments in the tokens of the code."""


PUBLISHED = ExtractionOptions()


@dataclass(frozen=True, slots=True)
class Function:
    """One function or method."""

    name: str
    """``name`` or ``Class.name``."""
    text: str
    tokens: list[str]
    docstring: str
    docstring_tokens: list[str]
    start_line: int
    """First line, from 1."""
    end_line: int
    """Last line, inclusive."""
    is_empty: bool
    """The body begins with ``pass`` or ``raise``, with no comment line before it. CodeSearchNet
    leaves such a function out."""


def extract(text: str, options: ExtractionOptions = PUBLISHED) -> list[Function]:
    """Functions and methods of a module in source order."""
    source = text.encode()
    root = Parser(LANGUAGE).parse(source).root_node
    return [
        _function(node, scope, source, options)
        for node, scope in _definitions(root, options.methods)
    ]


def tokenize_docstring(docstring: str) -> list[str]:
    """Split the :func:`summary` of a docstring into CodeSearchNet's tokens."""
    return _DOC_TOKENS.findall(summary(docstring))


def summary(docstring: str) -> str:
    """Part before the first empty line or, if there is none, before the first ``@``."""
    paragraph, gap, _ = docstring.partition("\n\n")
    return paragraph if gap else docstring.partition("@")[0]


def _definitions(root: Node, methods: bool) -> Iterator[tuple[Node, str]]:
    """Yield top-level functions, and methods of top-level classes with the class's name."""
    for node in root.named_children:
        definition = _undecorated(node)
        if definition.type == "function_definition":
            yield definition, ""
        elif methods and definition.type == "class_definition":
            name = definition.child_by_field_name("name")
            body = definition.child_by_field_name("body")
            for child in body.named_children if body is not None else ():
                method = _undecorated(child)
                if method.type == "function_definition":
                    yield method, f"{_text(name)}."


def _undecorated(node: Node) -> Node:
    if node.type != "decorated_definition":
        return node
    return node.child_by_field_name("definition") or node


def _function(node: Node, scope: str, source: bytes, options: ExtractionOptions) -> Function:
    name, body = node.child_by_field_name("name"), node.child_by_field_name("body")
    statements = body.named_children if body is not None else []
    documentation = _docstring_node(statements)
    end, end_row = _end(node, source)
    text = _decode(source[node.start_byte : end])
    docstring = ""
    if documentation is not None:
        docstring = _text(documentation).strip().strip('"').strip("'").strip()
    tokens = _tokens(node, end, documentation, text, source)
    return Function(
        name=scope + _text(name),
        text=text.strip(),
        tokens=tokens if options.comment_tokens else [t for t in tokens if t[0] != "#"],
        docstring=summary(docstring).strip() if options.docstring_summary else docstring,
        docstring_tokens=tokenize_docstring(docstring),
        start_line=node.start_point.row + 1,
        end_line=end_row + 1,
        is_empty=_is_empty(node, statements),
    )


def _end(node: Node, source: bytes) -> tuple[int, int]:
    """End of a function, as a byte and a row: its last statement with the comment on its line.

    The parser counts comments on the lines after it to the function; ``ast`` and CodeSearchNet
    do not.
    """
    last_line = source[source.rfind(b"\n", node.start_byte, node.end_byte) + 1 : node.end_byte]
    if not last_line.lstrip().startswith(b"#"):
        return node.end_byte, node.end_point.row
    last = node
    while last.type != "string":
        children = reversed(last.children)
        code = (c for c in children if c.type not in _BLANK and c.end_byte > c.start_byte)
        child = next(code, None)
        if child is None:
            break
        last = child
    line_end = source.find(b"\n", last.end_byte, node.end_byte)
    return node.end_byte if line_end < 0 else line_end, last.end_point.row


def _is_empty(node: Node, statements: list[Node]) -> bool:
    """Whether the body begins with ``pass`` or ``raise``, with no comment line before it."""
    if not statements:
        return True
    first = statements[0]
    if first.type not in {"pass_statement", "raise_statement"}:
        return False
    header_row = next(child.end_point.row for child in node.children if child.type == ":")
    return not any(
        child.type == "comment" and child.start_point.row > header_row
        for child in node.children
        if child.start_byte < first.start_byte
    )


def _docstring_node(statements: list[Node]) -> Node | None:
    """Return the first statement of the body that is only a string.

    In CodeSearchNet's rule, unlike in Python's, it need not be the first statement.
    """
    for statement in statements:
        if statement.type == "expression_statement":
            first = statement.child(0)
            if first is not None and first.type == "string":
                return first
    return None


def _tokens(
    node: Node, end: int, documentation: Node | None, text: str, source: bytes
) -> list[str]:
    spans = _parsed_spans(node, text)
    if documentation is not None:
        spans.append((documentation.start_byte, documentation.end_byte, []))
    if not spans:
        return _split_unpacking(_split(text))
    tokens: list[str] = []
    position = node.start_byte
    for start, stop, inner in sorted(spans):
        if start < position:
            continue
        tokens += _split(_decode(source[position:start]))
        tokens += inner
        position = stop
    tokens += _split(_decode(source[position:end]))
    return _split_unpacking(tokens)


def _split(text: str) -> list[str]:
    masked = mask_identifier_marks(text)
    if masked is text:
        return _TOKENS.findall(text)
    return [text[slice(*match.span())] for match in _TOKENS.finditer(masked)]


def _parsed_spans(node: Node, text: str) -> list[tuple[int, int, list[str]]]:
    """Start, end and tokens of spans that the regular expression cannot split.

    These are strings with a quote in a replacement field, and the dots of
    ``from ...package import x``, where each dot is a token; elsewhere ``...`` is one token.
    """
    spans: list[tuple[int, int, list[str]]] = []
    if "{" in text and _QUOTED_FIELD.search(text):
        fields = QueryCursor(_FIELDS).captures(node).get("field", [])
        holders = (f.parent for f in fields if "'" in (inner := _text(f)) or '"' in inner)
        spans += [
            (h.start_byte, h.end_byte, [_text(h)]) for h in holders if h and h.type == "string"
        ]
    if "from" in text and _FAR_RELATIVE.search(text):
        dots = QueryCursor(_PREFIXES).captures(node).get("prefix", [])
        spans += [(d.start_byte, d.end_byte, ["."] * _text(d).count(".")) for d in dots]
    return spans


def _split_unpacking(tokens: list[str]) -> list[str]:
    """Split ``**`` before an argument into two tokens, as CodeSearchNet does; not the operator."""
    if "**" not in tokens:
        return tokens
    result: list[str] = []
    done = 0
    for _ in range(tokens.count("**")):
        place = tokens.index("**", done)
        before = place - 1
        while before >= 0 and tokens[before].startswith("#"):
            before -= 1
        result += tokens[done:place]
        result += ("*", "*") if before >= 0 and tokens[before] in _UNPACKS_AFTER else ("**",)
        done = place + 1
    return result + tokens[done:]


def _text(node: Node | None) -> str:
    return _decode(node.text or b"") if node is not None else ""


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "replace")
