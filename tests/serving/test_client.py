"""Completions of servers of both dialects, and one clear line if no server answers."""

from typing import Any

import pytest

from codeling.errors import InputError, UsageError
from codeling.serving import client as module
from codeling.serving.client import CompletionServer

URL = "http://127.0.0.1:8012"


class Dialect:
    """A server that knows the routes given, and records what it is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **answers: tuple[int, Any]) -> None:
        self.bodies: list[tuple[str, Any]] = []

        def send(connection: Any, method: str, path: str, body: Any, token: Any) -> tuple[int, Any]:
            name = path.rpartition("/")[2]
            self.bodies.append((name, body))
            return answers.get(name, (404, {}))

        monkeypatch.setattr(module, "send", send)


def test_our_own_server_is_asked_to_infill(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def send(connection: Any, method: str, path: str, body: Any, token: Any) -> tuple[int, Any]:
        response = client.request(method, path, json=body)
        return response.status_code, response.json()

    monkeypatch.setattr(module, "send", send)
    text = CompletionServer(URL).complete("def f(x):\n    return ", "\n", ("\n",))
    assert "\n" not in text


def test_a_server_that_infills_gets_both_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Dialect(monkeypatch, infill=(200, {"content": "self"}))
    assert CompletionServer(URL + "/").complete("a", "b", ("\n",), 5) == "self"
    (asked,) = server.bodies
    assert asked[0] == "infill"
    assert (asked[1]["input_prefix"], asked[1]["input_suffix"], asked[1]["n_predict"]) == (
        "a",
        "b",
        5,
    )
    assert (asked[1]["stop"], asked[1]["temperature"]) == (["\n"], 0)


def test_a_server_without_infilling_is_asked_in_openais_dialect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Dialect(
        monkeypatch,
        infill=(501, {}),
        models=(200, {"data": [{"id": "mine"}]}),
        completions=(200, {"choices": [{"text": "self"}]}),
    )
    remote = CompletionServer(URL)
    assert [remote.complete("a", suffix) for suffix in ("", "b")] == ["self", "self"]
    names = [name for name, _ in server.bodies]
    assert names == ["infill", "models", "completions", "completions"]
    first, second = (body for name, body in server.bodies if name == "completions")
    assert (first["model"], first["prompt"], "suffix" in first) == ("mine", "a", False)
    assert second["suffix"] == "b"


def test_errors_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="not an address like"):
        CompletionServer("localhost")
    with pytest.raises(InputError, match=r"http://127.0.0.1:9: no answer from a server"):
        CompletionServer("http://127.0.0.1:9").complete("a", "")
    Dialect(monkeypatch, infill=(401, {"error": {"message": "no token"}}))
    with pytest.raises(
        InputError, match=r"8012: the token is missing or wrong; set CODELING_TOKEN"
    ):
        CompletionServer(URL).complete("a", "")
    Dialect(monkeypatch)
    with pytest.raises(InputError, match="Not Found"):
        CompletionServer(URL).complete("a", "")
    Dialect(monkeypatch, infill=(429, {"error": {"message": "later"}}))
    with pytest.raises(InputError, match="8012: later"):
        CompletionServer(URL).complete("a", "")
