"""Parse rate: what the prompt is, what is cut, and what counts."""

import ast
from dataclasses import dataclass
from typing import Any, cast

import pytest

from codeling.evaluation.parse_rate import (
    MAX_PROMPT_BYTES,
    function_prompt,
    outcome,
    parse_rate,
)
from codeling.generation.engine import Engine
from codeling.generation.request import Completion


@dataclass(frozen=True)
class Function:
    text: str
    repository: str = "repo"
    path: str = "a.py"
    start_line: int = 1


class Scripted:
    """Stands for an engine: answers every prompt from a list, and keeps what it was asked."""

    def __init__(self, *answers: tuple[str, str]) -> None:
        self.answers = answers
        self.prompts: list[str] = []
        self.options: dict[str, Any] = {}

    def complete_batch(
        self, prompts: list[str], *, n: int = 1, **options: Any
    ) -> list[list[Completion]]:
        self.options = options
        result = []
        for prompt in prompts:
            self.prompts.append(prompt)
            text, reason = self.answers[(len(self.prompts) - 1) % len(self.answers)]
            result.append([Completion(text, (), cast("Any", reason))] * n)
        return result


def rate(engine: Scripted, functions: list[Function], completions: int) -> Any:
    return parse_rate(
        cast("Engine", engine),
        functions,
        completions=completions,
        max_new_tokens=7,
        temperature=0.2,
        prose_temperature=0.9,
        top_p=0.8,
        max_repeats=4,
        seed=5,
    )


@pytest.mark.parametrize(
    "text, prompt",
    [
        ("def f(x):\n    return x\n", "def f(x):\n"),
        ("def f(x): return x\n", "def f(x):"),
        ("async def f(\n    x,\n):\n    return x", "async def f(\n    x,\n):\n"),
        (
            'def f():\n    """Doc.\n\n    More."""\n    pass',
            'def f():\n    """Doc.\n\n    More."""\n',
        ),
        ('def f():\n    """Doc."""; return 1\n', 'def f():\n    """Doc.""";'),
        ("def f():\n    # why\n    return 1\n", "def f():\n    # why\n"),
        ("@cache\ndef f():\n    return 1\n", "@cache\ndef f():\n"),
        ("def f():\n    @g\n    def h(): ...\n    return h\n", "def f():\n"),
        ("    def f(self):\n        return 1\n", "def f(self):\n"),
        ("def f(self):\n        'é'\n        return 1\n", "    def f(self):\n        'é'\n"),
        ("def f(self, 変=1):\r\n\treturn 1\r\n", "def f(self, 変=1):\n"),
        (
            'def f():\n        """Doc.\n  odd"""\n        x\n',
            '    def f():\n        """Doc.\n  odd"""\n',
        ),
        ("def f():\n            x\n            y\n", "        def f():\n"),
        ("def f():\n    'a\\x0cb\x0cc'\n    return '\\d'\n", "def f():\n    'a\\x0cb\x0cc'\n"),
        ('def f():\n    """Doc."""\n', None),
        ("class A:\n    pass\n", None),
        ("def f():\n    print 1\n", None),
        ("def f(:\n", None),
        ("x = 1\ndef f():\n    pass\n", None),
        ("def f():\n    return '\0'\n", None),
        ("", None),
    ],
)
def test_the_prompt_ends_where_the_body_begins(text: str, prompt: str | None) -> None:
    assert function_prompt(text) == prompt
    if prompt is not None:
        margin = " " * (len(prompt) - len(prompt.lstrip()) + 4)
        body = f"{margin}pass\n" if prompt.endswith("\n") else f"\n{margin}pass\n"
        assert ast.parse("if True:\n" * margin.startswith("     ") + prompt.rstrip(";") + body)


@pytest.mark.parametrize(
    "completion, expected",
    [
        ("    return x\n", "parsed"),
        ("    return '\\d'\n", "parsed"),
        ("    return (x\n", "broken"),
        ("  x\n      y\n", "broken"),
        ("    return '\0'\n", "broken"),
        ("    x = " + "(" * 500 + "1" + ")" * 500 + "\n", "broken"),
        ("", "empty"),
        ("  \n\n", "empty"),
    ],
)
def test_outcomes(completion: str, expected: str) -> None:
    assert outcome('def f(x):\n    """Doc."""\n', completion) == expected


def test_a_method_is_parsed_within_a_block() -> None:
    assert outcome("    def f(self):\n", "        return 1\n") == "parsed"
    assert outcome("    def f(self):\n", "    return 1\n") == "broken"


@pytest.mark.parametrize(
    "reason, expected",
    [("length", "    a = 1\n"), ("block", None), ("end_of_text", None)],
)
def test_an_unfinished_line_is_cut_only_where_tokens_ran_out(
    reason: str, expected: str | None
) -> None:
    answer = "    a = 1\n    b = (\n        2,\n"
    result = rate(Scripted((answer, reason)), [Function("def f(x):\n    return x\n")], 1)
    assert result.samples[0].completion == (answer if expected is None else expected)


def test_the_rate_counts_every_completion() -> None:
    functions = [Function(f"def f{n}(x):\n    return x + {n}\n", path=f"{n}.py") for n in range(40)]
    engine = Scripted(
        ("    return x\n", "block"),
        ("    return (\n", "block"),
        ("    x = 1\n    y = (", "length"),
        ("", "end_of_text"),
    )
    result = rate(engine, functions, 40)
    assert len(result.samples) == 40
    assert [result.count(o) for o in ("parsed", "broken", "empty")] == [20, 10, 10]
    assert result.value == 0.5
    low, high = result.interval()
    assert (round(low, 4), round(high, 4)) == (0.352, 0.648)
    assert engine.options == {
        "max_new_tokens": 7, "temperature": 0.2, "prose_temperature": 0.9, "top_p": 0.8,
        "max_repeats": 4, "seed": 5, "stop_at_block_end": True,
    }  # fmt: skip
    assert {s.completion for s in result.samples if s.finish_reason == "length"} == {"    x = 1\n"}


def test_the_order_of_the_functions_does_not_matter() -> None:
    functions = [Function(f"def f{n}():\n    return {n}\n", path=f"{n}.py") for n in range(50)]
    one, two = Scripted(("    pass\n", "block")), Scripted(("    pass\n", "block"))
    assert rate(one, functions, 10).samples == rate(two, functions[::-1], 10).samples
    assert one.prompts == two.prompts
    assert len(set(one.prompts)) == 10


def test_few_functions_are_completed_several_times() -> None:
    functions = [Function("def f(:"), *(Function(f"def f{n}():\n    n\n") for n in range(3))]
    engine = Scripted(("    pass\n", "block"))
    assert len(rate(engine, functions, 10).samples) == 10
    assert len(engine.prompts) == 3


def test_a_prompt_too_long_for_the_smallest_model_is_left_out() -> None:
    texts = [f'def f(x):\n    """{"a" * n}"""\n    return x\n' for n in (480, 500)]
    engine = Scripted(("    return x\n", "block"))
    rate(engine, [Function(text) for text in texts], 2)
    assert [len(prompt) <= MAX_PROMPT_BYTES for prompt in engine.prompts] == [True]


def test_no_functions() -> None:
    assert rate(Scripted(), [Function("x = 1")], 10).samples == ()
