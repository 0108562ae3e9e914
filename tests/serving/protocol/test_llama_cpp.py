import json
import re
from typing import Any, get_args

import pytest

from codeling.generation.text.decoding import FinishReason
from codeling.serving.protocol.chat import CHAT
from codeling.serving.protocol.llama_cpp import COMPLETION, INFILL
from codeling.serving.protocol.ollama import GENERATE
from codeling.serving.protocol.openai import COMPLETIONS
from codeling.serving.protocol.query import Answer, Choice, Prompt, Query, ServedModel
from codeling.serving.protocol.tabby import COMPLETIONS as TABBY
from codeling.tokenizer.tokenizer import Tokenizer

VIM: dict[str, Any] = {
    "id_slot": 0,
    "input_prefix": "def mean(xs):\n",
    "input_suffix": "\n    return total / len(xs)\n",
    "input_extra": [{"text": "import os\n", "time": [1, 2], "filename": "a.py"}],
    "prompt": "    total = ",
    "n_predict": 12,
    "stop": [],
    "n_indent": 4,
    "top_k": 40,
    "top_p": 0.90,
    "samplers": ["top_k", "top_p", "infill"],
    "stream": False,
    "cache_prompt": True,
    "t_max_prompt_ms": 500,
    "t_max_predict_ms": 250,
    "response_fields": [
        "content", "timings/prompt_n", "timings/prompt_ms", "timings/prompt_per_token_ms",
        "timings/prompt_per_second", "timings/predicted_n", "timings/predicted_ms",
        "timings/predicted_per_token_ms", "timings/predicted_per_second", "truncated",
        "tokens_cached",
    ],
    "model": "",
}  # fmt: skip


def test_llama_vim_gets_flat_keys_in_compact_json(client: Any) -> None:
    response = client.post("/infill", json=VIM, headers={"Authorization": "Bearer "})
    assert response.status_code == 200
    assert set(response.json()) == set(VIM["response_fields"])
    assert re.search(r'"content"\s*:"', response.text)
    assert "\n" not in response.text
    assert response.json()["timings/predicted_n"] <= 12


def test_llama_vims_warm_up_only_fills_the_cache(client: Any) -> None:
    warm_up = {**VIM, "prompt": "", "n_predict": 0, "temperature": 0.0, "samplers": []}
    warm_up |= {"t_max_prompt_ms": 1, "t_max_predict_ms": 1, "response_fields": [""]}
    assert client.post("/infill", json=warm_up).json() == {}
    whole = {**warm_up, "response_fields": None}
    answer = client.post("/infill", json=whole).json()
    assert answer["content"] == ""
    assert answer["tokens_predicted"] == 0
    assert answer["timings"]["prompt_n"] == 1  # the last token is always read
    assert answer["tokens_cached"] == answer["tokens_evaluated"] - 1


def test_llama_vscode_gets_an_array_and_its_status_bar_figures(client: Any) -> None:
    code = {key: VIM[key] for key in VIM if key not in ("stop", "response_fields")}
    code |= {"top_p": 0.99, "t_max_predict_ms": 2500, "n_cmpl": 3, "lora": []}
    code["input_extra"] = [{"text": "x", "time": 1_700_000_000_000, "filename": "a.py"}]
    answers = client.post("/infill", json=code).json()
    assert len(answers) == 3
    for answer in answers:
        assert isinstance(answer["content"], str)
        assert isinstance(answer["tokens_cached"], int)
        assert answer["generation_settings"]["n_ctx"] == 128
        assert set(answer["timings"]) >= {"prompt_n", "prompt_ms", "predicted_per_second"}
    one = client.post("/infill", json={**code, "n_cmpl": 1}).json()
    assert one["content"] == answers[0]["content"]


def test_continue_streams_a_completion(client: Any) -> None:
    body = {"prompt": "def f(x):\n", "n_predict": 8}
    whole = client.post("/completion", json=body).json()
    text = client.post("/completion", json={**body, "stream": True}).text
    events = [json.loads(block.removeprefix("data: ")) for block in text.split("\n\n") if block]
    assert "".join(event["content"] for event in events) == whole["content"]
    assert [event["stop"] for event in events] == [False] * (len(events) - 1) + [True]
    assert events[-1]["stop_type"] == whole["stop_type"] == "limit"


def test_the_stop_string_is_named(client: Any) -> None:
    body: dict[str, Any] = {"prompt": "def f(x):\n", "n_predict": 30, "temperature": 2.0}
    body["stop"] = list("abcdefg")
    answer = client.post("/completion", json=body).json()
    assert answer["stop_type"] == "word"
    assert answer["stopping_word"] in body["stop"]
    assert not set(answer["content"]) & set("abcdefg")


@pytest.mark.parametrize("reason", get_args(FinishReason))
def test_every_finish_reason_has_its_answer(reason: FinishReason) -> None:
    answer = Answer((Choice(0, "x", (1,), reason),))
    query, model = Query((Prompt("p", ""),)), ServedModel("codeling", 8, 8, True, 0, "1")
    for dialect in (INFILL, COMPLETION, COMPLETIONS, CHAT, GENERATE, TABBY):
        json.dumps(dialect.answer(query, answer, model, "id"))
        if dialect is not TABBY:
            json.dumps(dialect.choice(query, answer.choices[0], model, "id"))


def test_facts_that_clients_read(client: Any) -> None:
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/props").json()["default_generation_settings"]["n_ctx"] == 128


def test_tokens_there_and_back(client: Any, tokenizer: Tokenizer) -> None:
    text = "naïve = '<|endoftext|>'\n"
    tokens = client.post("/tokenize", json={"content": text}).json()["tokens"]
    assert tokens == tokenizer.encode(text)
    assert client.post("/detokenize", json={"tokens": tokens}).json() == {"content": text}
    pieces = client.post("/tokenize", json={"content": "x = 1", "with_pieces": True}).json()
    assert "".join(token["piece"] for token in pieces["tokens"]) == "x = 1"
    assert client.post("/detokenize", json={"tokens": [10**6]}).status_code == 400


@pytest.mark.parametrize("path", ["/v1/embeddings", "/apply-template", "/slots", "/lora-adapters"])
def test_routes_that_do_not_exist_answer_with_an_error(client: Any, path: str) -> None:
    response = client.post(path, json={})
    assert response.status_code == 404
    assert set(response.json()["error"]) >= {"code", "message", "type"}
