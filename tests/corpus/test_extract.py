import ast
import dataclasses
import json
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from tree_sitter import Node, Parser, Query, QueryCursor

from codeling.corpus.extract import LANGUAGE, ExtractionOptions, extract, tokenize_docstring
from codeling.source_text import decode

UNREADABLE = ("/test/test_compile.py",)
"""Files that the grammar of tree-sitter does not parse: see the test of a hanging line below."""
PUBLISHED = Path(__file__).parents[2].parent / "shared" / "data" / "codesearchnet"


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="no published rows beside the project")
def test_equals_every_published_row_of_codesearchnet() -> None:
    rows = [
        json.loads(line)
        for path in sorted(PUBLISHED.glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    assert len(rows) > 1000
    for row in rows:
        (found,) = extract(row["original_string"])
        assert found.text == row["code"]
        assert found.docstring == row["docstring"]
        assert found.tokens == row["code_tokens"]
        assert found.docstring_tokens == row["docstring_tokens"]
        assert found.name == row["func_name"].rpartition(".")[2]


def functions_of_ast(text: str) -> list[tuple[str, int, int, str]]:
    """Name, first line, last line and whole lines of what :func:`extract` should find."""
    lines = text.split("\n")
    found = []
    for node in ast.parse(text).body:
        scope = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
        for child in node.body if isinstance(node, ast.ClassDef) else [node]:
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                assert child.end_lineno is not None
                body = "\n".join(lines[child.lineno - 1 : child.end_lineno]).strip()
                found.append((scope + child.name, child.lineno, child.end_lineno, body))
    return found


def disagreements(files: Iterable[Path]) -> tuple[int, list[str]]:
    """Number of functions that ``ast`` finds, and those that :func:`extract` finds otherwise."""
    number, wrong = 0, []
    for path in files:
        try:
            text = decode(path.read_bytes())
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected = functions_of_ast(text)
        except (SyntaxError, ValueError, RecursionError):
            continue
        number += len(expected)
        found = {(f.name, f.start_line, f.end_line, f.text) for f in extract(text)}
        wrong += [f"{path}: {name}:{line}" for name, line, *_ in found ^ set(expected)]
    return number, wrong


PATHS = sysconfig.get_paths()


def test_functions_agree_with_ast() -> None:
    files = [
        *Path(PATHS["stdlib"]).glob("[a-d]*.py"),
        *Path(PATHS["stdlib"]).glob("asyncio/*.py"),
    ]
    number, wrong = disagreements(sorted(files))
    assert number > 2_000
    assert wrong == []


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_every_installed_function_agrees_with_ast() -> None:
    files = {
        path for key in ("stdlib", "purelib", "platlib") for path in Path(PATHS[key]).rglob("*.py")
    }
    number, wrong = disagreements(sorted(files))
    assert number > 10_000
    assert [place for place in wrong if not any(name in place for name in UNREADABLE)] == []


def test_names_decorators_and_excluded_functions() -> None:
    text = (
        "@cache\ndef a():\n    def inner(): return 1\n    return inner\n\n"
        "@dataclass\nclass B:\n    @property\n    def c(self): return 1\n"
        "    class D:\n        def e(self): pass\n\n"
        "if True:\n    def f(): pass\n\nasync def g(): await h()\n"
    )
    found = extract(text)
    assert [f.name for f in found] == ["a", "B.c", "g"]
    assert found[0].text.startswith("def a():")
    assert (found[1].start_line, found[1].end_line) == (9, 9)
    assert found[2].text.startswith("async def")


def tokens(text: str) -> list[str]:
    return extract(text)[0].tokens


def test_tokens() -> None:
    assert tokens("def f(*a, **k): return a ** 2\n") == [
        "def", "f", "(", "*", "a", ",", "*", "*", "k", ")", ":", "return", "a", "**", "2",
    ]  # fmt: skip
    assert tokens("def f():\n    # why\n    return x not in y\n")[5:] == [
        "# why", "return", "x", "not", "in", "y",
    ]  # fmt: skip
    nested = 'f"a {d["k"]} {f\'{b["c"]}\'} z"'
    assert tokens(f"def f():\n    return g({nested}, 'é', 1_0.5e-3)\n")[-9:] == [
        "return", "g", "(", nested, ",", "'é'", ",", "1_0.5e-3", ")",
    ]  # fmt: skip


def test_the_dots_of_a_relative_import_are_a_token_each() -> None:
    for module in ("...a", ". ..a", "....", "... ", "\\\n  ..\\\n.a.b"):
        text = f"def f():\n    from {module} import b; yield from ...\n    return x[...]\n"
        root = Parser(LANGUAGE).parse(text.encode()).root_node
        found = [token for token in leaves(root, None) if token]
        assert tokens(text) == found
        assert found.count(".") == module.count(".")
        assert found.count("...") == 2


def test_docstring_is_not_among_the_tokens() -> None:
    (found,) = extract('def f(x):\n    """Say é.\n\n    :param x: it\n    """\n    return x\n')
    assert found.docstring == "Say é.\n\n    :param x: it"
    assert found.docstring_tokens == ["Say", "é", "."]
    assert found.tokens == ["def", "f", "(", "x", ")", ":", "return", "x"]


@pytest.mark.parametrize(
    ("definition", "is_empty"),
    [
        ("def f():\n    pass\n", True),
        ("def f():\n    raise NotImplementedError\n", True),
        ("def f():  # why\n    pass\n", True),
        ("def f():\n    pass  # why\n", True),
        ("def f(x: int\n      ):\n    pass\n", True),
        ("def f():\n    # why\n    pass\n", False),
        ("def f(x):\n# why\n\n    raise x\n", False),
        ("def f():\n    ...\n", False),
    ],
)
def test_an_empty_body_begins_with_pass_or_raise_and_no_comment(
    definition: str, is_empty: bool
) -> None:
    assert extract(definition)[0].is_empty is is_empty


@pytest.mark.parametrize(
    ("text", "end_line"),
    [
        ("def f():\n    return 1  # one\n    # two\n", 2),
        ("def f():\n    return 1\n    # two\n\n    # three\n\nx = 1\n", 2),
        ("def f():\n    if x:\n        return 1;  # one\n        # two\n    # three\n", 3),
        ("def f():\n    # two\n    return 1\n    # three", 3),
        ("def f():\n    return [\n        1,\n    # two\n    ]  # one\n    # three\n", 5),
        ('def f():\n    return """\n    # two"""\n    # three\n', 3),
        ('def f():\n    return """\n    # two\n# three\n"""\n', 5),
        ("class A:\n    def f():\n        return 1  # one\n        # two\n\n    # three\n", 3),
        ("def f(): return 1  # one\n    # two\n", 1),
        ("def f():\n    return g(1) \\\n        # two\n\n    # three\n", 2),
    ],
)
def test_a_function_ends_with_its_last_statement_and_the_comment_on_its_line(
    text: str, end_line: int
) -> None:
    (found,) = extract(text)
    lines = text.split("\n")[found.start_line - 1 : end_line]
    assert (found.text, found.end_line) == ("\n".join(lines).strip(), end_line)
    comments = [token for token in found.tokens if token.startswith("#")]
    assert comments == [
        line[line.index("#") :] for line in lines if "#" in line and '"' not in text
    ]


def test_a_semicolon_is_no_token() -> None:
    assert tokens("def f(): x = 1; return x;\n")[5:] == ["x", "=", "1", "return", "x"]
    assert tokens("def f(): g(';');  # a; b\n")[5:] == ["g", "(", "';'", ")", "# a; b"]


def test_combining_marks_belong_to_words() -> None:
    found = tokens("def f(परिणाम): return x̀ + 'x̀' + a·b\n")
    assert found[3:] == ["परिणाम", ")", ":", "return", "x̀", "+", "'x̀'", "+", "a·b"]


def test_python2_and_broken_files_yield_recognizable_functions() -> None:
    old = "def f(x):\n    print 'a', x\n    exec 'b'\n    raise E, 'm'\n"
    assert [f.name for f in extract(old + "\ndef g(): return 1\n")] == ["f", "g"]
    broken = "def f(x):\n    return (x\n\n\ndef g():\n    return 2\n"
    assert extract(broken) is not None
    for hostile in ("", "'" * 50_001, "def f(:", "(" * 20_000, "é\x0c\x1a", "def f():\n  x = '''"):
        extract(hostile)


def test_docstring_tokens_stop_at_the_first_paragraph_or_at_sign() -> None:
    assert tokenize_docstring("One two.\n\nThree") == ["One", "two", "."]
    assert tokenize_docstring("One @param x") == ["One"]


def test_each_option_changes_only_its_own_field() -> None:
    text = (
        'def f(x):\n    """One two.\n\n    Three @four.\n    """\n'
        "    # why\n    return x  # so\n\n\n"
        "class A:\n    def g(self): return '# not a comment'\n"
    )
    f, g = extract(text)
    assert [found.name for found in extract(text, ExtractionOptions(methods=False))] == ["f"]
    assert extract(text, ExtractionOptions(methods=False)) == [f]
    short = extract(text, ExtractionOptions(docstring_summary=True))
    assert short == [dataclasses.replace(f, docstring="One two."), g]
    bare = extract(text, ExtractionOptions(comment_tokens=False))
    assert bare == [dataclasses.replace(f, tokens=[t for t in f.tokens if "#" not in t]), g]
    assert g.tokens[-1] == "'# not a comment'"
    assert len(f.tokens) - len(bare[0].tokens) == 2


def leaves(node: Node, skip: Node | None, end_line: int = 1 << 30) -> Iterator[str]:
    """CodeSearchNet's way to tokens: the leaves of the tree up to a line, a string being one."""
    if node.start_point.row >= end_line:
        return
    text = (node.text or b"").decode()
    if node.type == "string":
        if node != skip:
            yield text
    elif node.child_count:
        for child in node.children:
            yield from leaves(child, skip, end_line)
    elif node.type == "**" and node.parent is not None and "splat" in node.parent.type:
        yield from "**"
    elif text and node.type not in {"line_continuation", ";"}:
        yield from text.split() if node.type in {"not in", "is not"} else [text]


def test_tokens_are_the_leaves_of_the_tree() -> None:
    """A regular expression cuts what walking the tree would, over a part of the library."""
    number = 0
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("[a-d]*.py")):
        text = path.read_text(encoding="utf-8")
        root = Parser(LANGUAGE).parse(text.encode()).root_node
        functions = {
            node.start_point.row + 1: node
            for node in QueryCursor(Query(LANGUAGE, "(function_definition) @f"))
            .captures(root)
            .get("f", [])
        }
        for found in extract(text):
            node = functions[found.start_line]
            body = node.child_by_field_name("body")
            assert body is not None
            strings = (
                child.child(0) for child in body.children if child.type == "expression_statement"
            )
            documentation = next((s for s in strings if s is not None and s.type == "string"), None)
            expected = list(leaves(node, documentation, found.end_line))
            assert expected == found.tokens, (path, found.name)
            number += 1
    assert number > 500


@pytest.mark.parametrize("operator", [".", " +"])
def test_a_line_hanging_left_of_its_block_after_an_operator_is_not_parsed(operator: str) -> None:
    """Inside brackets, where indentation means nothing; tree-sitter sees the end of the block.

    The standard library's test_compile.py has such a line, and all its functions are lost.
    """
    for indentation, has_error in (("", True), ("    ", False)):
        text = f"def f():\n    (a{operator}\n{indentation}b)\n"
        ast.parse(text)
        assert Parser(LANGUAGE).parse(text.encode()).root_node.has_error is has_error
