"""Parts of a page: escaping and numbers for people."""

import html

import pytest

from codeling.report.page import completion, escape, short_bytes, short_seconds, table


@pytest.mark.parametrize("text", ["", "<b>&amp;\"'", "a\n\tb", "\x00\x07\x1b\x7f\r", "é変"])
def test_escaped_text_reads_as_it_was_but_for_controls(text: str) -> None:
    escaped = escape(text)
    assert not set('<>"') & set(escaped)
    assert all(c >= " " or c in "\n\t" for c in escaped)
    visible = html.unescape(escaped)
    assert len(visible) == len(text)
    assert all(a == b or a < " " or a == "\x7f" for a, b in zip(text, visible, strict=True))


def test_a_completion_is_told_apart_from_its_prompt() -> None:
    made = completion({"prompt": "a<", "completion": ">b"})
    assert '<span class="prompt">a&lt;</span><mark>&gt;b</mark>' in made


@pytest.mark.parametrize(
    "number, expected",
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (4_240_000, "4.2 MB"), (3e9, "3.0 GB")],
)
def test_bytes(number: float, expected: str) -> None:
    assert short_bytes(number) == expected


@pytest.mark.parametrize(
    "seconds, expected",
    [
        (0, "0.0 s"),
        (59.94, "59.9 s"),
        (59.99, "1 min"),
        (60, "1 min"),
        (83.4, "1 min 23 s"),
        (3599.6, "1 h 00 min"),
        (7384, "2 h 03 min"),
    ],
)
def test_seconds(seconds: float, expected: str) -> None:
    assert short_seconds(seconds) == expected


def test_cells_are_escaped_and_marked() -> None:
    made = table(["<name>", "n"], [["<x>", "1"]], caption="<c>", numbers=[1], bars=[("a", 0.5)])
    assert "<x>" not in made
    assert "<name>" not in made
    assert "<caption>&lt;c&gt;</caption>" in made
    assert '<td class="number">1</td>' in made
    assert 'style="width:50.00%"' in made
