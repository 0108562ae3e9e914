import hypothesis.strategies as st
import pytest
from hypothesis import given

from codeling.generation.suggestions.place import find_place
from codeling.generation.suggestions.trimming import trimmed


def shown(text: str, prefix: str, suffix: str = "") -> str:
    place = find_place(prefix, suffix)
    assert place is not None
    return trimmed(text, prefix, suffix, place)


@pytest.mark.parametrize(
    ("text", "prefix", "suffix", "expected"),
    [
        # To the end of the line within one, to the end of the block on an empty line.
        ("x + 1\n    return y", "    return ", "", "x + 1"),
        ("a = 1\n    b = 2\nc = 3", "def f():\n    ", "", "a = 1\n    b = 2"),
        ("a = 1\n\n    b = 2\n", "def f():\n    ", "", "a = 1\n\n    b = 2"),
        ("\n    a = 1\n    b = 2\nc = 3", "def f():", "", "\n    a = 1\n    b = 2"),
        ("\n        a = 1\n    b = 2", "class A:\n    if x:", "", "\n        a = 1"),
        ("    a = 1\nb = 2", "if x:\n", "", "    a = 1"),
        ("\n\t\ta = 1\n\tb = 2", "class A:\n\tif x:", "", "\n\t\ta = 1"),
        # What the suffix closes is left to it.
        ("a, b)", "f(", ")", "a, b"),
        ("a, g(b))", "f(", ")\n", "a, g(b)"),
        ("a, b)", "f(", "", "a, b)"),
        ("a, b))", "f(", "", "a, b)"),
        ("a, b", "f(", ", c)\n", "a, b"),
        ("a)", "f(", ",\n  b)\n", "a"),
        ("x]", "a[f(", ")]\n", "x"),
        ("')', a)", "f(", ")\n", "')', a"),
        # Where the suffix begins again.
        ("x + 1  # why", "y = ", "  # why", "x + 1"),
        ("a = 1\n    return a", "def f():\n    ", "\n    return a\n", "a = 1"),
        ("return a", "def f():\n    ", "\n\n    return a\n", ""),
        # The text right before.
        ("self.x = x", "    self.x = x\n    ", "", ""),
        (")", "    )\n    ", "", ""),
        # White space.
        ("   ", "x =", "", ""),
        ("x   ", "y = ", "", "x"),
        ("a\0b", "y = ", "", "a"),
        ("a\ufffd", "y = ", "", "a"),
    ],
)
def test_a_text_is_cut(text: str, prefix: str, suffix: str, expected: str) -> None:
    assert shown(text, prefix, suffix) == expected


@given(
    st.text("ab()[]'\"#\n :=", max_size=30),
    st.sampled_from(["", "x = ", "def f():\n    ", "f(", "x = '", "a[f(", "# "]),
    st.text("ab)]\n '", max_size=20),
)
def test_every_rule_only_shortens(text: str, prefix: str, suffix: str) -> None:
    place = find_place(prefix, suffix)
    if place is None:
        return
    cut = trimmed(text, prefix, suffix, place)
    assert text.startswith(cut)
    assert cut == cut.rstrip()


@given(
    st.lists(st.sampled_from(["x = 1", "    return x", "foo(", ")", "", "    y"]), max_size=6),
    st.sampled_from(["", "x = ", "def f():\n    ", "def f():", "foo(", "    # "]),
    st.lists(st.sampled_from(["x = 1", "    return x", "foo(", "", "    y", "z)"]), max_size=4),
    st.booleans(),
)
def test_nothing_shown_begins_the_suffix_again(
    lines: list[str], prefix: str, below: list[str], on_next_line: bool
) -> None:
    suffix = "\n" * on_next_line + "\n".join(below)
    place = find_place(prefix, suffix)
    if place is None:
        return
    cut = trimmed("\n".join(lines), prefix, suffix, place)
    rest, _, more = suffix.partition("\n")
    first = next((line.strip() for line in more.split("\n") if len(line.strip()) >= 3), "")
    following = next((line.strip() for line in more.split("\n") if line.strip()), "")
    if not rest.strip() and first == following and first:
        assert first not in [line.strip() for line in cut.split("\n")]
    if len(rest.strip()) >= 3:
        assert not cut.endswith(rest.lstrip())
