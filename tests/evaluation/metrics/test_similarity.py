"""Edit distance against a twin, and names in code that need not parse."""

import random

import pytest

from codeling.evaluation.metrics.similarity import (
    edit_distance,
    edit_similarity,
    identifier_f1,
    identifiers,
)


def twin(one: str, two: str) -> int:
    """Levenshtein's recurrence as it is written in textbooks."""
    row = list(range(len(two) + 1))
    for i, a in enumerate(one, start=1):
        following = [i]
        for j, b in enumerate(two, start=1):
            following.append(min(row[j] + 1, following[-1] + 1, row[j - 1] + (a != b)))
        row = following
    return row[-1]


def test_the_distance_is_levenshteins() -> None:
    drawn = random.Random(0)
    for _ in range(300):
        one, two = (
            "".join(drawn.choices("ab é\n\U0001f40d", k=drawn.randrange(12))) for _ in range(2)
        )
        assert edit_distance(one, two) == twin(one, two)


def test_similarity_is_of_the_longer() -> None:
    assert edit_similarity("", "") == 1.0
    assert edit_similarity("abc", "abc") == 1.0
    assert edit_similarity("", "abc") == 0.0
    assert edit_similarity("return x", "return y") == pytest.approx(7 / 8)


@pytest.mark.parametrize(
    "code, names",
    [
        ("return total / len(xs)  # the mean", ["total", "len", "xs"]),
        ("x = 'not a name' + f(\"nor this\") + 1e5 + 0x1F", ["x", "f"]),
        ("परिणाम = x̀ + xs[½]", ["परिणाम", "x̀", "xs", "½"]),
        ('x = f"{d["no"]}" + y', ["x", "y"]),
        ('"""doc\nstring""" + größe', ["größe"]),
        ("print(rb'x', 'unfinished", ["print"]),
        ("if not x in y: pass", ["x", "y"]),
        ("", []),
    ],
)
def test_names_are_outside_of_strings_comments_and_keywords(code: str, names: list[str]) -> None:
    assert identifiers(code) == names


def test_f1_counts_each_occurrence_of_a_name() -> None:
    assert identifier_f1("a + a + b", "a + b + c") == pytest.approx(2 * 2 / 6)
    assert identifier_f1("a", "a") == 1.0
    assert identifier_f1("1", "2") == 1.0
    assert identifier_f1("1", "a") == 0.0
