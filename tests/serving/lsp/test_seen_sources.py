from codeling.memory.spans import SeenSpan
from codeling.serving.lsp.seen_sources import SeenSources, described


def span(text: str, path: str | None = "a.py", first: int = 1, last: int = 1) -> SeenSpan:
    return SeenSpan(text, "project" if path else "document", path, first, last, 0.5)


def test_parts_are_found_by_their_lines_wherever_those_are_now() -> None:
    seen = SeenSources()
    early, late = span("x = compute(1)\n", first=3), span("compute(\n    2)", "b.py", 7, 8)
    seen.remember("u", [early])
    seen.remember("u", [late])
    assert seen.within("u", "    x = compute(1)  # moved") == [late, early]
    assert seen.within("u", "2)") == []  # too short
    assert seen.within("u", "y = 3") == []
    assert seen.within("v", "x = compute(1)") == []
    seen.forget("u")
    assert seen.within("u", "x = compute(1)") == []


def test_each_place_is_named_once_and_old_suggestions_are_forgotten() -> None:
    seen = SeenSources()
    seen.remember("u", [span("first line")])
    for _ in range(64):
        seen.remember("u", [])
        seen.remember("u", [span("other line")])
    assert seen.within("u", "other line") == [span("other line")]
    assert seen.within("u", "first line") == []


def test_a_place_is_one_line_of_text() -> None:
    assert described(span("x", "lib/a.py", 3, 5)) == (
        "- lib/a.py:3-5 (project, 50% of the probability)"
    )
    assert described(span("x", None, 2, 2)) == "- this file:2 (open file, 50% of the probability)"
