"""The frame and the parts of a page: escaping, tables, formatted numbers."""

import html
from pathlib import Path

import jinja2
import pytest
from markupsafe import Markup

from codeling.report import page
from codeling.report.page import (
    PageSection,
    frame,
    macros,
    short_bytes,
    short_number,
    short_seconds,
)

PARTS = Path(page.__file__).with_name("templates") / "macros.html"


@pytest.mark.parametrize("text", ["", "<b>&amp;\"'", "a\n\tb", "\x00\x07\x1b\x7f\r", "é変"])
def test_any_text_is_shown_unchanged_except_for_control_characters(text: str) -> None:
    made = macros(PARTS).completion({"prompt": text, "completion": ""})
    escaped = made.removeprefix('<pre><code><span class="prompt">')
    escaped = escaped.removesuffix("</span><mark></mark></code></pre>")
    assert not set('<>"') & set(escaped)
    assert all(c >= " " or c in "\n\t" for c in escaped)
    visible = html.unescape(escaped)
    assert len(visible) == len(text)
    assert all(a == b or a < " " or a == "\x7f" for a, b in zip(text, visible, strict=True))


def test_a_completion_is_distinct_from_its_prompt() -> None:
    made = macros(PARTS).completion({"prompt": "a<", "completion": ">b"})
    assert '<span class="prompt">a&lt;</span><mark>&gt;b</mark>' in made


def test_a_missing_value_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="completion"):
        macros(PARTS).completion({"prompt": ""})


def test_the_frame_escapes_all_but_the_bodies(tmp_path: Path) -> None:
    section = PageSection("one", "<One>", Markup("<b>bold</b>"))
    made = frame(kind="<k>", name="<n>", sections=[section], summary="<s>", tiles=[("<l>",) * 3])
    assert "<b>bold</b>" in made
    assert not [name for name in ("<k>", "<n>", "<One>", "<s>", "<l>") if name in made]
    assert '<a href="#one">&lt;One&gt;</a>' in made
    assert '<section id="one" aria-labelledby="one-title">' in made


def test_a_body_that_is_not_markup_is_escaped() -> None:
    made = frame(kind="", name="", sections=[PageSection("a", "A", "<script>")])  # type: ignore[arg-type]
    assert "<script>" not in made


@pytest.mark.parametrize(
    "number, expected",
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (4_240_000, "4.2 MB"), (3e9, "3.0 GB")],
)
def test_bytes_are_formatted(number: float, expected: str) -> None:
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
def test_seconds_are_formatted(seconds: float, expected: str) -> None:
    assert short_seconds(seconds) == expected


@pytest.mark.parametrize(
    "value, expected",
    [(0, "0"), (0.25, "0.25"), (999, "999"), (1500, "1.5k"), (3_932_160, "3.93M"), (2e9, "2B")],
)
def test_numbers_are_formatted(value: float, expected: str) -> None:
    assert short_number(value) == expected


def test_table_cells_are_escaped_and_have_their_classes() -> None:
    made = macros(PARTS).table(
        ["<name>", "n", "m"], [["<x>", "1", "2"]], caption="<c>", numbers=[1, 2], optional=[2],
        bars=[("a", 0.5)],
    )  # fmt: skip
    assert "<x>" not in made
    assert "<name>" not in made
    assert "<caption>&lt;c&gt;</caption>" in made
    assert '<th scope="row">&lt;x&gt;</th>' in made
    assert '<td class="number">1</td><td class="number optional">2</td>' in made
    assert 'style="width:50.00%"' in made
