from typing import Any

from codeling.serving.http.request_log import RequestLog
from codeling.serving.protocol.query import Answer, Choice, Prompt, Query


def samples(page: str) -> dict[str, float]:
    """Values by name and labels."""
    lines = [line for line in page.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_requests_and_tokens_are_counted(client: Any) -> None:
    before = samples(client.get("/metrics").text)
    body = {"prompt": "def f(x):\n    return x", "n_predict": 7}
    choices = [client.post("/completion", json=body).json() for _ in range(2)]
    client.get("/a/path/that/is/not/there")
    after = samples(client.get("/metrics").text)
    grown = {name: after[name] - before.get(name, 0) for name in after}
    assert grown['codeling_requests_total{route="/completion",status="200"}'] == 2
    assert grown['codeling_requests_total{route="other",status="404"}'] == 1
    assert grown['codeling_request_seconds_count{route="/completion"}'] == 2
    read = sum(choice["tokens_evaluated"] for choice in choices)
    assert grown["codeling_prompt_tokens_total"] == read
    reused = sum(choice["tokens_cached"] for choice in choices)
    assert grown["codeling_reused_prompt_tokens_total"] == reused
    assert choices[1]["tokens_cached"] == choices[1]["tokens_evaluated"] - 1
    assert grown["codeling_generated_tokens_total"] == 14
    assert after["codeling_completions_in_flight"] == 0


QUERY = Query((Prompt("secret prefix", "secret suffix"),))
ANSWER = Answer(
    (Choice(0, "secret text", (1, 2, 3), "stop", num_new=3, num_prompt=9, num_reused=4),)
)


def test_a_logged_request_has_no_text_unless_asked() -> None:
    lines: list[str] = []
    RequestLog(with_texts=False, write=lines.append).line("/infill", 200, 0.0123, QUERY, ANSWER)
    RequestLog(with_texts=True, write=lines.append).line("/infill", 200, 0.0123, QUERY, ANSWER)
    assert lines[0] == "/infill 200 12.3 ms; prompt 9 tokens (4 reused), new 3, stop\n"
    assert all(word in lines[1] for word in ("secret prefix", "secret suffix", "secret text"))
    assert lines[1].count("\n") == 1


def test_an_error_is_logged_with_its_message() -> None:
    lines: list[str] = []
    RequestLog(with_texts=False, write=lines.append).line("/infill", 400, 0.001, message="n: bad")
    assert lines == ["/infill 400 1.0 ms; n: bad\n"]
