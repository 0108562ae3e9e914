from typing import Any

import pytest

from codeling.generation.engine import Engine
from codeling.serving.playground.lookups import Lookups
from codeling.serving.protocol.query import RequestError

from .conftest import HOSTILE, PASSAGE


def test_the_page_learns_what_the_model_has(playground: Any) -> None:
    about = playground.get("/playground/about").json()
    assert about["sources"] == ["model", "document"]
    assert about["has_provenance"]
    assert about["has_typing"]
    assert about["pages"] == [{"path": "/run/report.html", "title": "Report of the run"}]


def test_a_model_without_a_run_says_so(engine: Engine) -> None:
    lookups = Lookups(engine, None, 0.25)
    about = lookups.about()
    assert (about["sources"], about["pages"], about["aggressiveness"]) == (["model"], [], "normal")
    assert not about["has_provenance"]
    with pytest.raises(RequestError, match="no provenance index"):
        lookups.trace({"text": "x"})
    with pytest.raises(RequestError, match="no result of the suite"):
        lookups.typing()
    assert lookups.page(["report.html"]) is None


def test_a_passage_is_found_with_its_place_and_licence(playground: Any) -> None:
    body = {"text": f"import os\n\n{PASSAGE}\n"}
    (match,) = playground.post("/playground/trace", json=body).json()["matches"]
    assert (match["text_start_line"], match["repository"], match["license"]) == (
        3,
        HOSTILE,
        HOSTILE,
    )
    assert (match["path"], match["start_line"]) == (f"{HOSTILE}.py", 1)


@pytest.mark.parametrize("text", ["", "def f(x):\n", "é = '🐍' + \"\u202e\"\n", "\x00<fim_prefix>"])
def test_the_cut_covers_the_text_in_utf_16_units(
    playground: Any, engine: Engine, text: str
) -> None:
    ends = playground.post("/playground/tokens", json={"text": text}).json()["ends"]
    assert ends == sorted(ends)
    assert len(ends) == len(engine.tokenizer.encode(text))
    assert (ends[-1] if ends else 0) == len(text.encode("utf-16-le")) // 2


def test_a_text_that_is_too_long_is_refused(playground: Any) -> None:
    for route in ("tokens", "trace"):
        answer = playground.post(f"/playground/{route}", json={"text": "x" * 200_001})
        assert answer.status_code == 400
        assert answer.json()["error"]["message"].count("\n") == 0


def test_typed_files_are_those_with_events(playground: Any) -> None:
    answer = playground.get("/playground/typing").json()
    (file,) = answer["files"]
    assert (file["name"], file["events"][0]["shown"]) == (HOSTILE, "mean(xs)")


def test_a_damaged_result_is_one_line(playground: Any, run: Any) -> None:
    path = run.path / "evaluation" / "typing-12345678" / "evaluation.json"
    good = path.read_text()
    path.write_text("[]")
    try:
        answer = playground.get("/playground/typing")
        assert (answer.status_code, "cannot be read" in answer.text) == (400, True)
    finally:
        path.write_text(good)
