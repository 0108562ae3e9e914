"""EvalPlus's checks compare answers as EvalPlus does."""

import math
from typing import Any

import pytest

from codeling.evaluation.data.evalplus import BadInputsError, check


def passes(program: str, source: str) -> bool:
    namespace: dict[str, object] = {}
    exec(program, namespace)
    namespace["candidate"] = namespace[program.partition("(")[0].removeprefix("def ")]
    try:
        exec(source, namespace)
    except AssertionError:
        return False
    return True


def made(reference: str, inputs: Any, task: str = "HumanEval/0", atol: Any = 0) -> str:
    name = reference.removeprefix("def ").partition("(")[0]
    return check(task, name, reference, inputs[:1], inputs[1:], atol)


def test_an_answer_is_right_if_it_returns_what_the_reference_returns() -> None:
    source = made("def f(x):\n    return x + 1\n", [[1], [2], [-5]])
    assert passes("def f(y):\n    return 1 + y\n", source)
    assert not passes("def f(x):\n    return x + 1 if x > 0 else x\n", source)


def test_answer_and_reference_get_separate_arguments() -> None:
    source = made("def f(xs):\n    xs.append(1)\n    return len(xs)\n", [[[1, 2]], [[]]])
    assert passes("def f(xs):\n    return len(xs) + 1\n", source)


@pytest.mark.parametrize(
    "atol, error, expected", [(0, 1e-8, True), (0, 1e-4, False), (1e-3, 1e-4, True)]
)
def test_floats_may_differ_a_little(atol: float, error: float, expected: bool) -> None:
    source = made("def f(x):\n    return x / 3\n", [[1.0], [2.0]], atol=atol)
    assert passes(f"def f(x):\n    return x / 3 + {error}\n", source) is expected


def test_types_must_agree_if_values_are_only_close() -> None:
    source = made("def f(x):\n    return [x / 3]\n", [[1.0]])
    assert passes("def f(x):\n    return [x / 3 + 1e-9]\n", source)
    assert not passes("def f(x):\n    return (x / 3 + 1e-9,)\n", source)


def test_a_root_is_right_if_the_polynomial_is_small() -> None:
    source = made("def find_zero(xs):\n    return 99\n", [[[-6, 11, -6, 1]]], "HumanEval/32", 1e-4)
    assert passes("def find_zero(xs):\n    return 2.0\n", source)
    assert not passes("def find_zero(xs):\n    return 2.5\n", source)


def test_tasks_about_sets_compare_sets() -> None:
    reference = "def similar_elements(a, b):\n    return tuple(x for x in a if x in b)\n"
    source = made(reference, [[[3, 4, 5], [5, 4, 7]]], "Mbpp/2")
    assert passes("def similar_elements(a, b):\n    return set(a) & set(b)\n", source)


@pytest.mark.parametrize(
    "task, arguments, program",
    [
        ("Mbpp/2", [[1, 2], [3]], "assert a == ((1, 2), (3,))"),
        ("Mbpp/63", [[[1, 2], [3, 4]]], "assert a == ([(1, 2), (3, 4)],)"),
        ("Mbpp/75", [[[1, 2]], 3], "assert a == ([(1, 2)], 3)"),
        ("Mbpp/106", [[1], [2]], "assert a == ([1], (2,))"),
        ("Mbpp/115", [[[1, 2], []]], "assert a == ([{1, 2}, {}],)"),
        ("Mbpp/124", ["1.5", "2j"], "assert a == (1.5, 2j)"),
        ("Mbpp/250", [[1, 2], 2], "assert a == ((1, 2), 2)"),
        ("Mbpp/259", [[[1, 2]], [[3]]], "assert a == (((1, 2),), ((3,),))"),
        ("Mbpp/278", [[1, [2]]], "assert a == ((1, (2,)),)"),
        ("Mbpp/307", [[1, []], 1, 2], "assert a == ((1, []), 1, 2)"),
        ("Mbpp/722", [{"k": [1, 2]}, 3], "assert a == ({'k': (1, 2)}, 3)"),
        ("Mbpp/252", ["1+2j"], "assert a == (1 + 2j,)"),
        ("Mbpp/580", [[1, [2]]], "assert a == ((1, (2,)),)"),
        ("Mbpp/1000", [[1, [2]]], "assert a == ([1, [2]],)"),
        ("HumanEval/2", [[1, 2]], "assert a == ([1, 2],)"),
    ],
)
def test_arguments_get_the_types_of_the_task(task: str, arguments: list[Any], program: str) -> None:
    source = made("def f(*a):\n    return 0\n", [arguments], task)
    assert passes(f"def f(*a):\n    {program}\n    return 0\n", source)


def test_infinity_and_nan_survive() -> None:
    source = made("def f(x):\n    return x != x or x > 1e9\n", [[math.inf], [math.nan]])
    assert passes("def f(x):\n    return not x <= 1e9\n", source)


def test_malformed_inputs_are_named() -> None:
    with pytest.raises(BadInputsError, match="base_input does not have the task's arguments"):
        check("Mbpp/75", "f", "def f(): pass", [[1]], [], 0)
