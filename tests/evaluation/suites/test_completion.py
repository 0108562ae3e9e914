"""Places in functions, and how near a completion is to what stood there."""

import ast
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from codeling.corpus.extract import extract
from codeling.errors import InputError
from codeling.evaluation.data.datafiles import Text
from codeling.evaluation.journal import Journal
from codeling.evaluation.suites.completion import Case, cases, judge, measure
from codeling.evaluation.suites.functional import Sampling

from ..conftest import Says, Scripted

Make = Callable[[Says], Scripted]


@dataclass(frozen=True)
class Place:
    text: str
    repository: str = "r"
    path: str = "a.py"
    start_line: int = 1


@pytest.fixture(scope="module")
def functions(python_files: list[str]) -> list[Text]:
    """Functions and methods of the standard library, as a corpus holds them."""
    return [
        Text("stdlib", f"{number}.py", function.text, function.start_line)
        for number, text in enumerate(python_files[:8])
        for function in extract(text)
    ]


def test_what_stood_there_is_right_by_every_measure(functions: list[Text]) -> None:
    asked = [case for function in functions for seed in (0, 1) for case in cases(function, seed)]
    assert len(asked) > 100
    assert {case.kind for case in asked} == {"line", "block"}
    for case in asked:
        record = judge(case, case.target + "  \n")
        assert record["exact_match"]
        assert record["parses"]
        assert record["edit_similarity"] == 1.0
        assert record["identifiers_right"] is not False
        assert case.prompt.endswith("\n")


def test_prompt_target_and_rest_are_the_function(functions: list[Text]) -> None:
    for function in functions:
        for case in cases(function, 0):
            whole = f"{case.prompt}{case.target}\n{case.rest}".strip()
            own = [line.strip() for line in function.text.rstrip().split("\n")]
            assert [line.strip() for line in whole.split("\n")] == own


def test_a_line_is_never_within_a_string_a_comment_or_the_docstring() -> None:
    text = 'def f(x):\n    """Doc\n    doc\n    """\n    # no\n    y = """\n    no\n"""\n'
    text += "    return x\n"
    lines = {
        case.target
        for seed in range(40)
        for case in cases(Place(text), seed)
        if case.kind == "line"
    }
    assert lines == {'    y = """', "    return x"}


def test_a_block_is_the_rest_of_the_function_from_one_of_its_statements() -> None:
    text = "def f(x):\n    '''Doc.'''\n    if x:\n        y = 1\n    @g\n    def h():\n"
    text += "        pass\n    return y\n"  # not asked for: the definition above may go on
    blocks = {
        case.target
        for seed in range(60)
        for case in cases(Place(text), seed)
        if case.kind == "block"
    }
    lines = text.split("\n")
    assert blocks == {"\n".join(lines[start:]).rstrip() for start in (2, 4)}


def test_a_method_stands_as_in_its_file() -> None:
    method = "def get(self):\n        '''Doc.'''\n        return self.x"
    for case in cases(Place(method), 0):
        assert case.prompt.startswith("    def get")
        ast.parse("class A:\n" + case.prompt + case.target + "\n" + case.rest)


@pytest.mark.parametrize(
    "text",
    ["x = 1\n", "def f(): return 1\n", "def f():\n    '''Doc.'''\n", "def f(:\n", "", "\0",
     "def f():\n    return " + "1" * 5000],
)  # fmt: skip
def test_what_is_no_function_with_a_body_is_not_asked_about(text: str) -> None:
    assert cases(Place(text), 0) == []


def test_what_is_drawn_depends_on_seed_and_place_alone(functions: list[Text]) -> None:
    drawn = [cases(function, 3) for function in functions]
    assert drawn == [cases(function, 3) for function in functions]
    assert drawn != [cases(function, 4) for function in functions]


LINE = Case("line", "def f(x):\n", "    return x", "")


@pytest.mark.parametrize(
    "completion, exact, parses",
    [
        ("    return x  ", True, True),
        ("  return x", False, True),
        ("    return y", False, True),
        ("    return (x", False, False),
        ("return x", False, False),
        ("", False, False),
        ("    ", False, False),
    ],
)
def test_a_line_is_compared_with_its_indentation(
    completion: str, exact: bool, parses: bool
) -> None:
    record = judge(LINE, completion)
    assert (record["exact_match"], record["parses"]) == (exact, parses)


def test_the_suite_asks_for_a_line_and_a_block_each(
    scripted: Make, functions: list[Text], tmp_path: Path
) -> None:
    # A line and a block may be asked for at one place; the block begins with the line. Where
    # functions begin alike, only one of them can be told from its prompt.
    known: dict[str, str] = {}
    told = []
    for function in functions:
        both = sorted(cases(function, 0), key=lambda c: -len(c.target))
        if not any(case.prompt in known for case in both):
            told.append(function)
            known |= {case.prompt: case.target for case in reversed(both)}
    functions = told
    engine = scripted(lambda prompt, suffix, number: known[prompt] + "\n\n\nx = 1\n")
    sampling = Sampling(max_new_tokens=64)
    result = measure(engine, functions, sampling, Journal(tmp_path / "j", "1"), limit=40)
    values = {score["name"]: score["value"] for score in result["scores"]}
    assert result["num_functions"] == 40
    assert values["exact match, next line"] == 1.0
    assert values["exact match, next block"] == 1.0
    assert values["parse rate, next block"] == 1.0
    assert values["identifier F1, next line"] == 1.0


def test_no_function_is_said(scripted: Make, tmp_path: Path) -> None:
    engine = scripted(lambda prompt, suffix, number: "")
    with pytest.raises(InputError, match="no Python function"):
        measure(engine, [Place("x = 1")], Sampling(), Journal(tmp_path / "j", "1"), limit=1)
