"""Hundreds of bad requests while good clients continue: only errors of the client or of load."""

import json
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

GOOD = {"prompt": "def f(x):\n", "n_predict": 8}
ROUTES = [
    "/v1/completions", "/v1/chat/completions", "/infill", "/completion", "/api/generate",
    "/api/show", "/tokenize", "/detokenize", "/v1/events", "/metrics", "/nowhere", "/../etc/passwd",
]  # fmt: skip
REQUIRED = ["prompt", "messages", "input_prefix", "content", "tokens", "segments", "type", "suffix"]
KEYS = [
    "n", "n_predict", "max_tokens", "temperature", "top_p", "top_k", "seed", "stop", "logprobs",
    "stream", "id_slot", "n_cmpl", "options", "response_fields", "t_max_predict_ms", "user",
]  # fmt: skip
VALUES: list[Any] = [
    None, True, "", "x", "\x00", "é" * 100, -1, 0, 10**9, 10**40, 1e308, -1e308, 1e-320, [], {},
    [[]], [None], ["x"], [0], [10**9], {"a": {"b": []}}, [{"role": "user", "content": "<FILL_ME>"}],
    {"prefix": 1}, {"prefix": "x", "suffix": "y"}, {"num_predict": -5}, "view", "../../etc/passwd",
]  # fmt: skip
RAW = [
    b"", b"{", b"[" * 5000, b'{"a":' * 5000, b'{"prompt": NaN}', b'{"prompt": "\\ud800"}', b"\xff",
    b'{"prompt": "x", "temperature": Infinity}', b"x" * 100_000, b'{"prompt": "x"} {}',
]  # fmt: skip
HEADERS: list[dict[str, str]] = [
    {},
    {"host": "evil.example"},
    {"origin": "https://evil.example"},
    {"content-type": "text/plain"},
    {"authorization": "Bearer x"},
]


def bad_request(client: Any, generator: random.Random) -> tuple[int, str]:
    route = generator.choice(ROUTES)
    if generator.random() < 0.3:
        body = generator.choice(RAW)
    else:
        keys = generator.sample(REQUIRED, 2) + generator.sample(KEYS, 3)
        body = json.dumps({key: generator.choice(VALUES) for key in keys}).encode()
    headers = generator.choice(HEADERS)
    response = client.request(
        generator.choice(["POST", "POST", "POST", "GET", "DELETE"]), route, content=body,
        headers=headers,
    )  # fmt: skip
    return response.status_code, response.text


def test_bad_requests_get_client_errors_and_good_clients_continue(client: Any) -> None:
    expected = client.post("/completion", json=GOOD).json()["content"]

    def attack(number: int) -> list[tuple[int, str]]:
        generator = random.Random(number)
        return [bad_request(client, generator) for _ in range(60)]

    def good(number: int) -> list[str]:
        return [client.post("/completion", json=GOOD).json()["content"] for _ in range(20)]

    with ThreadPoolExecutor(8) as pool:
        attacks = [pool.submit(attack, number) for number in range(4)]
        clients = [pool.submit(good, number) for number in range(4)]
        for each in clients:
            assert each.result() == [expected] * 20
        answers = [answer for each in attacks for answer in each.result()]
    statuses = {status for status, _ in answers}
    assert statuses <= {200, 400, 403, 404, 405, 413, 429, 503}
    assert {400, 403, 404, 405} <= statuses
    for status, text in answers:
        if status != 200:
            assert "error" in json.loads(text)
            assert "Traceback" not in text
