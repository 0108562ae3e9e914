from typing import Any

import pytest
from starlette.testclient import TestClient

from codeling.serving.playground import pages


@pytest.fixture
def stranger(playground: Any) -> Any:
    """A client of the same server without the token."""
    return TestClient(playground.app, base_url="http://127.0.0.1:8012")


def policy_of(answer: Any) -> dict[str, str]:
    rules = (rule.partition(" ") for rule in answer.headers["content-security-policy"].split("; "))
    return {name: value for name, _, value in rules}


def test_the_page_needs_no_token_and_runs_no_inline_script(
    stranger: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(pages, "STATIC", tmp_path)
    (tmp_path / "index.html").write_text("<meta content='STYLE-NONCE'>")
    answers = [stranger.get("/"), stranger.get("/")]
    for answer in answers:
        assert answer.status_code == 200
        policy = policy_of(answer)
        assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
        assert policy["script-src"] == policy["connect-src"] == "'self'"
        nonce = answer.text.removeprefix("<meta content='").removesuffix("'>")
        assert policy["style-src"] == f"'self' 'nonce-{nonce}'"
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert answers[0].text != answers[1].text


def test_without_a_bundle_the_page_says_how_to_build_it(
    stranger: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(pages, "STATIC", tmp_path)
    assert "make web" in stranger.get("/").text
    assert stranger.get("/playground/app.js").status_code == 404
    (tmp_path / "index.html").write_text("<p>built")
    (tmp_path / "app.css").write_text("p {}")
    assert stranger.get("/").text == "<p>built"
    assert stranger.get("/playground/app.css").headers["content-type"].startswith("text/css")


@pytest.mark.parametrize("path", ["about", "typing"])
def test_everything_else_needs_the_token(stranger: Any, path: str) -> None:
    assert stranger.get(f"/playground/{path}").status_code == 401
    assert stranger.post("/playground/open").status_code == 401


def test_pages_of_the_run_open_with_the_cookie_alone(playground: Any, stranger: Any) -> None:
    refused = stranger.get("/run/report.html")
    assert refused.status_code == 401
    assert "/#token=TOKEN), and then this page" in refused.json()["error"]["message"]
    answer = playground.post("/playground/open")
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/run"} <= set(cookie.split("; "))
    name, _, value = cookie.partition(";")[0].partition("=")
    assert name == "codeling-pages-8012"
    stranger.cookies.set(name, value)
    page = stranger.get("/run/report.html")
    assert page.text == "the report"
    assert "script-src" not in policy_of(page)
    assert policy_of(page)["default-src"] == "'none'"
    assert stranger.get("/run/evaluation/typing-12345678/evaluation.html").status_code == 200
    assert stranger.get("/playground/about").status_code == 401
    for path in ("secret.html", "../report.html", "evaluation/..%2f..%2fsecret.html", "recipe.toml",
                 "evaluation/typing-12345678/evaluation.json", "evaluation.html"):  # fmt: skip
        assert stranger.get(f"/run/{path}").status_code in (401, 404)
    stranger.cookies.set(name, f"{value[:-1]}x")
    assert stranger.get("/run/report.html").status_code == 401
