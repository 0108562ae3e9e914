"""The lexer compared with tokenize, tree-sitter and itself, and examples of f-strings."""

import io
import itertools
import sys
import sysconfig
import tokenize
from pathlib import Path

import pytest
import tree_sitter_python
from hypothesis import given, settings
from hypothesis import strategies as st
from tree_sitter import Language, Parser, Query, QueryCursor

from codeling.python_lexer import (
    CODE,
    COMMENT,
    FIELD,
    JOINT,
    LINE_END,
    QUOTE,
    STRING,
    Lexer,
    literal_parts,
    literals,
    mask_identifier_marks,
    prefix_start,
    replace_literals,
)

LIBRARY = Path(sysconfig.get_paths()["stdlib"])


def cut(text: str) -> list[str]:
    return [text[start:end] for start, end, _ in literals(text)]


def parts(text: str) -> list[str]:
    return [text[start:end] for start, end in literal_parts(text)]


FORMATTED = [
    ('f"{d["k"]}" + x', ['"{d["k"]}"'], ['"{', '"k"', '}"']),
    ('f"{d["#"]}" # c', ['"{d["#"]}"', "# c"], ['"{', '"#"', '}"', "# c"]),
    ("f'{x!r:>{w}}' 'b'", ["'{x!r:>{w}}'", "'b'"], ["'{", ":>{", "}}'", "'b'"]),
    ('f"{f"{f"{1}"}"}" "b"', ['"{f"{f"{1}"}"}"', '"b"'], ['"{', '"{', '"{', '}"}"}"', '"b"']),
    ('f"{{{x}}}" "b"', ['"{{{x}}}"', '"b"'], ['"{{{', '}}}"', '"b"']),
    ('f"{{" "b"', ['"{{"', '"b"'], ['"{{"', '"b"']),
    ('f"{ {"a": 1}["a"] }"', ['"{ {"a": 1}["a"] }"'], ['"{', '"a"', '"a"', '}"']),
    ('f"{(lambda x: x)(":")}"', ['"{(lambda x: x)(":")}"'], ['"{', '":"', '}"']),
    ('f"\\N{DIGIT ONE}{y["a"]}"', ['"\\N{DIGIT ONE}{y["a"]}"'], ['"\\N{DIGIT ONE}{', '"a"', '}"']),
    ('rf"\\N{y["a"]}"', ['"\\N{y["a"]}"'], ['"\\N{', '"a"', '}"']),
    ('f"\\{y["a"]}"', ['"\\{y["a"]}"'], ['"\\{', '"a"', '}"']),
    ("f'{a\n# }'\n}'", ["'{a\n# }'\n}'"], ["'{", "# }'", "}'"]),
    ("f'{a:x\n}'", ["'{a:x\n}'"], ["'{", ":x", "}'"]),
    ("f'''{a:\n}'''", ["'''{a:\n}'''"], ["'''{", ":\n}'''"]),
    ('t"{d["k"]}"', ['"{d["k"]}"'], ['"{', '"k"', '}"']),
    ('RF"{d["k"]}"', ['"{d["k"]}"'], ['"{', '"k"', '}"']),
    ('buf"{d["', ['"{d["'], ['"{d["']),
    ('f""\'x\'', ['""', "'x'"], ['""', "'x'"]),
    # Invalid: the field ends at the error, the string at the end of its line.
    ('f"{x" \n"b"', ['"{x" ', '"b"'], ['"{', '" ', '"b"']),
    ('f"{x)y"\n"b"', ['"{x)y"', '"b"'], ['"{', ')y"', '"b"']),
    ('f"{x:"\n"b"', ['"{x:"', '"b"'], ['"{', ':"', '"b"']),
    ('f"""{x "\n"""\n"b"', ['"""{x "\n"""', '"b"'], ['"""{', '"\n"""', '"b"']),
    ('f"a\n"b"', ['"a', '"b"'], ['"a', '"b"']),
    ('f"{x', ['"{x'], ['"{']),
]  # fmt: skip


@pytest.mark.parametrize("text, whole, pieces", FORMATTED)
def test_examples_of_formatted_strings(text: str, whole: list[str], pieces: list[str]) -> None:
    assert cut(text) == whole
    assert parts(text) == pieces


PLAIN = [
    ("x = 'it' + \"b\" # c\ny", ["'it'", '"b"', "# c"]),
    ('"""a "b" \'\'\'\n""c\\""""', ['"""a "b" \'\'\'\n""c\\""""']),
    ("'\\'' r'\\'' b'\\\n' ''", ["'\\''", "'\\''", "'\\\n'", "''"]),
    ("'a\\\r\nb' 'c'", ["'a\\\r\nb'", "'c'"]),
    ("'a\\\rb' 'c'", ["'a\\\rb'", "'c'"]),
    ("'never\n'closed", ["'never", "'closed"]),
    ("'''never\nclosed\\", ["'''never\nclosed\\"]),
    ("'end\\", ["'end\\"]),
    ("x", []),
]


@pytest.mark.parametrize("text, whole", PLAIN)
def test_examples_of_plain_strings_and_comments(text: str, whole: list[str]) -> None:
    assert cut(text) == parts(text) == whole


def lexed(text: str) -> list[tuple[int, int]]:
    """Literals of a text, found character by character with Lexer."""
    lexer, spans, start = Lexer(), [], -1
    is_comment = False
    for position, character in enumerate(text):
        was_within = lexer.is_within
        kind = lexer.feed(character)
        if start >= 0 and is_comment and kind != COMMENT:
            spans.append((start, position))
            start = -1
        elif start >= 0 and not is_comment:
            belongs = kind in (STRING, FIELD) or (was_within and lexer.is_within and kind != QUOTE)
            if not belongs or not lexer.is_within:
                spans.append((start, position + belongs))
                start = -1
        if start < 0 and (kind == QUOTE or (kind == COMMENT and not lexer.is_within)):
            start, is_comment = position, kind == COMMENT
    return spans if start < 0 else [*spans, (start, len(text))]


PIECES = st.lists(
    st.sampled_from(
        ["f'", "rf'", "f'''", "b'", "t'", "'", "'''", 'f"', 'rf"', 'f"""', 'b"', '"', '"""',
         "{", "}", "{{", "}}", "(", ")", "[", "]", ":", "#", "\\", "\n", "\r", "\\\n", "\\\r\n",
         " ", "a", "N", "N{", "x", "é", "=", "f", "r"]
    ),
    max_size=20,
).map("".join)  # fmt: skip


@settings(max_examples=500)
@given(PIECES)
def test_whole_texts_and_single_characters_give_the_same_literals(text: str) -> None:
    spans = [(start, end) for start, end, _ in literals(text)]
    assert spans == lexed(text)
    assert replace_literals(text, lambda literal: literal) == text
    inside = literal_parts(text)
    assert all(start < end for start, end in inside)
    assert all(one[1] <= two[0] for one, two in itertools.pairwise(inside))
    assert all(any(s <= start and end <= e for s, e in spans) for start, end in inside)


@settings(max_examples=200)
@given(PIECES)
def test_skipping_changes_nothing(text: str) -> None:
    reader, skipper, position = Lexer(), Lexer(), 0
    while position < len(text):
        kind = reader.feed(text[position])
        assert skipper.feed(text[position]) == kind
        position += 1
        for character in text[position : (end := skipper.skip(text, position))]:
            assert reader.feed(character) in (STRING, COMMENT)
        position = end
        state = [getattr(each, name) for each in (reader, skipper) for name in Lexer.__slots__]
        assert state[: len(state) // 2] == state[len(state) // 2 :]


def test_each_character_has_its_kind() -> None:
    def kinds(text: str) -> list[int]:
        lexer = Lexer()
        return [lexer.feed(character) for character in text]

    assert kinds("a'b'\n") == [CODE, QUOTE, STRING, STRING, LINE_END]
    assert kinds("(\n)#c\n") == [CODE, JOINT, CODE, COMMENT, COMMENT, LINE_END]
    assert kinds("\\\n\\\r\n\n") == [CODE, JOINT, CODE, CODE, JOINT, LINE_END]
    assert kinds("f'{x}'") == [CODE, QUOTE, STRING, FIELD, STRING, STRING]
    assert kinds("f'{x\n}'\n")[-4:] == [JOINT, STRING, STRING, LINE_END]


def test_string_prefixes_are_found() -> None:
    for text, prefix in (("rb'", "rb"), ("x=F'", "F"), ("print'", ""), ("'", ""), ("_f'", "")):
        assert text[prefix_start(text, len(text) - 1) : -1] == prefix


def test_only_identifier_marks_are_masked() -> None:
    assert mask_identifier_marks("परिणाम − x̀ ‿ “a”") == "परxणxम − xx x “a”"
    assert mask_identifier_marks("é = 変数") == "é = 変数"


def by_tokenize(text: str) -> list[tuple[int, int]]:
    lines = [0, *itertools.accumulate(len(line) + 1 for line in text.split("\n"))]
    spans, depth, start = [], 0, 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind = tokenize.tok_name[token.type]
        begin, end = (lines[row - 1] + column for row, column in (token.start, token.end))
        if kind.endswith("STRING_START"):
            start = start if depth else begin + len(token.string.rstrip("\"'"))
            depth += 1
        elif kind.endswith("STRING_END"):
            depth -= 1
            if not depth:
                spans.append((start, end))
        elif kind == "COMMENT" and not depth:
            spans.append((begin, end))
        elif kind == "STRING" and not depth:
            spans.append((begin + len(token.string) - len(token.string.lstrip("rRbBuUfF")), end))
    return spans


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tokenize does not know PEP 701")
@pytest.mark.parametrize("text", [text for text, _, _ in FORMATTED[:14]])
def test_formatted_strings_are_those_of_tokenize(text: str) -> None:
    assert [(start, end) for start, end, _ in literals(text)] == by_tokenize(text)


def library() -> list[Path]:
    return sorted(LIBRARY.glob("[a-i]*.py"))


def test_literals_of_the_library_are_those_of_tokenize() -> None:
    for path in library():
        text = path.read_text(encoding="utf-8")
        if not text.isascii():
            continue  # tokenize of Python 3.12.1 counts columns in bytes
        assert [(start, end) for start, end, _ in literals(text)] == by_tokenize(text), path


def by_tree_sitter(text: str) -> list[tuple[int, int]]:
    language = Language(tree_sitter_python.language())
    root = Parser(language).parse(text.encode()).root_node
    found = QueryCursor(Query(language, "[(string) (comment)] @literal")).captures(root)
    spans: list[tuple[int, int]] = []
    for node in sorted(found.get("literal", []), key=lambda node: node.start_byte):
        if not spans or node.start_byte >= spans[-1][1]:
            opening = node.child(0) if node.child_count else None
            prefix = (opening.text or b"").rstrip(b"\"'") if opening is not None else b""
            spans.append((node.start_byte + len(prefix), node.end_byte))
    return spans


def test_literals_of_the_library_are_those_of_tree_sitter() -> None:
    number = 0
    for path in library():
        text = path.read_text(encoding="utf-8")
        if text.isascii():
            found = [(start, end) for start, end, _ in literals(text)]
            assert found == by_tree_sitter(text), path
            number += len(found)
    assert number > 5_000


@pytest.mark.parametrize("text", [text for text, _, _ in FORMATTED[:10]])
def test_formatted_strings_are_those_of_tree_sitter(text: str) -> None:
    assert [(start, end) for start, end, _ in literals(text)] == by_tree_sitter(text)
