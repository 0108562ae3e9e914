from typing import Any

import pytest

from .test_openai import events

MESSAGE = "def f(x):\n    return <FILL_ME>\n\nf(1)\n"


def test_marimo_gets_an_infilling(client: Any) -> None:
    messages = [
        {"role": "system", "content": "Complete the code."},
        {"role": "user", "content": MESSAGE},
    ]
    body = {"model": "codeling", "messages": messages, "max_tokens": 8}
    whole = client.post("/v1/chat/completions", json=body).json()
    message = whole["choices"][0]["message"]
    assert message["role"] == "assistant"
    infill: dict[str, Any] = {
        "input_prefix": "def f(x):\n    return ",
        "input_suffix": "\n\nf(1)\n",
    }
    expected = client.post("/infill", json={**infill, "n_predict": 8}).json()["content"]
    assert message["content"] == expected
    streamed = events(client.post("/v1/chat/completions", json={**body, "stream": True}).text)
    deltas = [event["choices"][0]["delta"].get("content", "") for event in streamed]
    assert "".join(deltas) == expected


@pytest.mark.parametrize("begin", ["<", "<\u200d"])
def test_the_infilling_tokens_of_marimo_mark_the_cursor_too(client: Any, begin: str) -> None:
    before, after = MESSAGE.split("<FILL_ME>")
    marked = f"{begin}|fim_prefix|>{before}{begin}|fim_suffix|>{after}{begin}|fim_middle|>"
    texts = []
    for content in (MESSAGE, marked):
        messages = [{"role": "user", "content": content}]
        body = {"messages": messages, "max_completion_tokens": 8}
        answer = client.post("/v1/chat/completions", json=body).json()
        texts.append(answer["choices"][0]["message"]["content"])
    assert texts[0] == texts[1]


def test_parts_of_a_message_are_joined(client: Any) -> None:
    before, after = MESSAGE.split("<FILL_ME>")
    parts = [{"type": "text", "text": text} for text in (before, "<FILL_ME>", after)]
    texts = []
    for content in (MESSAGE, parts):
        body = {"messages": [{"role": "user", "content": content}], "max_tokens": 8}
        answer = client.post("/v1/chat/completions", json=body).json()
        texts.append(answer["choices"][0]["message"]["content"])
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": "Write a function."}]},
        {"messages": [{"role": "assistant", "content": MESSAGE}]},
        {"messages": [{"role": "user", "content": None}]},
        {"messages": [{"role": "user", "content": MESSAGE}], "tools": [{}]},
    ],
)
def test_a_chat_is_refused_with_the_reason(client: Any, body: dict[str, Any]) -> None:
    response = client.post("/v1/chat/completions", json=body)
    assert response.status_code == 400
    assert "completes Python and does not chat" in response.json()["error"]["message"]
