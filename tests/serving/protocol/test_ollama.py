import json
from typing import Any


def test_zed_gets_a_response(client: Any) -> None:
    prompt = "<fim_prefix>def f(x):\n    return <fim_suffix>\n\nf(1)\n<fim_middle>"
    body: dict[str, Any] = {"model": "codeling", "prompt": prompt, "raw": True, "stream": False}
    body["options"] = {"num_predict": 8, "temperature": 0.0, "stop": ["<fim_pad>"]}
    answer = client.post("/api/generate", json=body).json()
    assert isinstance(answer["response"], str)
    assert answer["created_at"].endswith("Z")
    assert answer["done"]
    split = {**body, "prompt": "def f(x):\n    return ", "suffix": "\n\nf(1)\n"}
    assert client.post("/api/generate", json=split).json()["response"] == answer["response"]


def test_a_stream_is_the_default_and_has_a_line_per_event(client: Any) -> None:
    body = {"model": "codeling", "prompt": "def f(x):\n", "options": {"num_predict": 8}}
    response = client.post("/api/generate", json=body)
    assert response.headers["content-type"].startswith("application/x-ndjson")
    events = [json.loads(line) for line in response.text.splitlines()]
    whole = client.post("/api/generate", json={**body, "stream": False}).json()
    assert "".join(event["response"] for event in events) == whole["response"]
    assert [event["done"] for event in events] == [False] * (len(events) - 1) + [True]
    assert events[-1]["done_reason"] == "length"
    assert events[-1]["eval_count"] == 8


def test_an_empty_prompt_loads_the_model(client: Any) -> None:
    answer = client.post("/api/generate", json={"model": "codeling", "stream": False}).json()
    assert answer["response"] == ""
    assert answer["done"]


def test_continue_finds_the_suffix_in_the_template(client: Any) -> None:
    shown = client.post("/api/show", json={"model": "codeling"}).json()
    assert ".Suffix" in shown["template"]
    assert "insert" in shown["capabilities"]
    (model,) = client.get("/api/tags").json()["models"]
    assert model["name"] == "codeling"


def test_an_error_is_one_text(client: Any) -> None:
    response = client.post("/api/generate", json={"prompt": 3})
    assert response.status_code == 400
    assert response.json()["error"].startswith("prompt: ")
