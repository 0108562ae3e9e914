"""Tasks cut from functions, and how completions compare with the targets."""

import ast
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from codeling.corpus.extract import extract
from codeling.errors import InputError
from codeling.evaluation.data.datafiles import Text
from codeling.evaluation.journal import Journal
from codeling.evaluation.suites.completion import CompletionTask, compare, measure, tasks
from codeling.evaluation.suites.suite import SampleSettings

from ..conftest import AnswerFunction, Scripted

Make = Callable[[AnswerFunction], Scripted]


@dataclass(frozen=True)
class Place:
    text: str
    repository: str = "r"
    path: str = "a.py"
    start_line: int = 1


@pytest.fixture(scope="module")
def functions(python_files: list[str]) -> list[Text]:
    """Functions and methods of the standard library, as a corpus stores them."""
    return [
        Text("stdlib", f"{number}.py", function.text, function.start_line)
        for number, text in enumerate(python_files[:8])
        for function in extract(text)
    ]


def test_the_target_itself_is_right_by_every_measure(functions: list[Text]) -> None:
    selected = [task for function in functions for seed in (0, 1) for task in tasks(function, seed)]
    assert len(selected) > 100
    assert {task.kind for task in selected} == {"line", "block"}
    for task in selected:
        record = compare(task, task.target + "  \n")
        assert record["exact_match"]
        assert record["parses"]
        assert record["edit_similarity"] == 1.0
        assert record["identifiers_right"] is not False
        assert task.prompt.endswith("\n")


def test_prompt_target_and_rest_are_the_function(functions: list[Text]) -> None:
    for function in functions:
        for task in tasks(function, 0):
            whole = f"{task.prompt}{task.target}\n{task.rest}".strip()
            own = [line.strip() for line in function.text.rstrip().split("\n")]
            assert [line.strip() for line in whole.split("\n")] == own


def test_a_line_is_never_inside_a_string_a_comment_or_the_docstring() -> None:
    text = 'def f(x):\n    """Doc\n    doc\n    """\n    # no\n    y = """\n    no\n"""\n'
    text += "    return x\n"
    lines = {
        task.target
        for seed in range(40)
        for task in tasks(Place(text), seed)
        if task.kind == "line"
    }
    assert lines == {'    y = """', "    return x"}


def test_a_block_is_the_rest_of_the_function_from_one_of_its_statements() -> None:
    text = "def f(x):\n    '''Doc.'''\n    if x:\n        y = 1\n    @g\n    def h():\n"
    text += "        pass\n    return y\n"  # no task: the definition above might continue
    blocks = {
        task.target
        for seed in range(60)
        for task in tasks(Place(text), seed)
        if task.kind == "block"
    }
    lines = text.split("\n")
    assert blocks == {"\n".join(lines[start:]).rstrip() for start in (2, 4)}


def test_a_method_is_indented_as_in_its_file() -> None:
    method = "def get(self):\n        '''Doc.'''\n        return self.x"
    for task in tasks(Place(method), 0):
        assert task.prompt.startswith("    def get")
        ast.parse("class A:\n" + task.prompt + task.target + "\n" + task.rest)


@pytest.mark.parametrize(
    "text",
    ["x = 1\n", "def f(): return 1\n", "def f():\n    '''Doc.'''\n", "def f(:\n", "", "\0",
     "def f():\n    return " + "1" * 5000],
)  # fmt: skip
def test_text_without_a_function_body_gives_no_tasks(text: str) -> None:
    assert tasks(Place(text), 0) == []


def test_tasks_depend_on_seed_and_location_alone(functions: list[Text]) -> None:
    found = [tasks(function, 3) for function in functions]
    assert found == [tasks(function, 3) for function in functions]
    assert found != [tasks(function, 4) for function in functions]


LINE = CompletionTask("line", "def f(x):\n", "    return x", "")


@pytest.mark.parametrize(
    "completion, exact, parses",
    [
        ("    return x  ", True, True),
        ("  return x", False, True),
        ("    return y", False, True),
        ("    return", False, False),
        ("    return None", False, False),
        ("    'text'", False, False),
        ("    pass", False, False),
        ("    return (x", False, False),
        ("return x", False, False),
        ("", False, False),
        ("    ", False, False),
    ],
)
def test_a_line_is_compared_with_its_indentation(
    completion: str, exact: bool, parses: bool
) -> None:
    record = compare(LINE, completion)
    assert (record["exact_match"], record["parses"]) == (exact, parses)


def test_a_block_counts_as_parsed_only_with_code() -> None:
    block = CompletionTask("block", "def f(x):\n    y = x\n", "    return y", "")
    noise = '    """' + "x = (1 2 " * 20 + '"""\n    pass\n'
    assert not compare(block, noise)["parses"]
    assert compare(block, noise + "    y += 1\n")["parses"]
    empty = CompletionTask("block", "def f(x):\n    y = x\n", "    return", "")
    assert compare(empty, "    return\n")["parses"]  # the target itself always counts


def test_the_suite_completes_a_line_and_a_block_of_each_function(
    scripted: Make, functions: list[Text], tmp_path: Path
) -> None:
    # A line and a block may start at the same place; the block then starts with the line. Of
    # functions with equal prompts, only the first is used.
    known: dict[str, str] = {}
    distinct = []
    for function in functions:
        both = sorted(tasks(function, 0), key=lambda c: -len(c.target))
        if not any(task.prompt in known for task in both):
            distinct.append(function)
            known |= {task.prompt: task.target for task in reversed(both)}
    functions = distinct
    engine = scripted(lambda prompt, suffix, number: known[prompt] + "\n\n\nx = 1\n")
    settings = SampleSettings(max_new_tokens=64)
    result = measure(engine, functions, settings, Journal(tmp_path / "j", "1"), limit=40)
    values = {score["name"]: score["value"] for score in result["scores"]}
    assert result["num_functions"] == 40
    assert values["exact match, next line"] == 1.0
    assert values["exact match, next block"] == 1.0
    assert values["parse rate, next block"] == 1.0
    assert values["identifier F1, next line"] == 1.0


def test_no_function_is_an_error(scripted: Make, tmp_path: Path) -> None:
    engine = scripted(lambda prompt, suffix, number: "")
    with pytest.raises(InputError, match="no Python function"):
        measure(engine, [Place("x = 1")], SampleSettings(), Journal(tmp_path / "j", "1"), limit=1)
