import json
from typing import Any

import pytest

from codeling.generation.engine import Engine
from codeling.serving.protocol.openai import parse
from codeling.serving.protocol.query import Prompt, RequestError
from codeling.tokenizer.tokenizer import Tokenizer

ZED_STOPS = [
    "<|endoftext|>", "<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<fim_pad>", "<file_sep>",
    "<|file_separator|>", "<|end|>", "</s>", "<s>", "<eos>", "<EOT>", "<|fim_pad|>", "<|im_end|>",
]  # fmt: skip


def events(text: str) -> list[Any]:
    """The events of a stream, which ends with [DONE]."""
    blocks = text.removesuffix("\n\n").split("\n\n")
    assert all(block.startswith("data: ") for block in blocks)
    assert blocks.pop() == "data: [DONE]"
    return [json.loads(block.removeprefix("data: ")) for block in blocks]


@pytest.mark.parametrize(
    "prompt, prompts",
    [
        ("a", (Prompt("a"),)),
        (["a", "b"], (Prompt("a"), Prompt("b"))),
        ([5, 6], (Prompt("", None, (5, 6)),)),
        ([[5], [6, 7]], (Prompt("", None, (5,)), Prompt("", None, (6, 7)))),
        ("<fim_prefix>a<fim_suffix>b<fim_middle>", (Prompt("a", "b"),)),
    ],
)
def test_a_prompt_is_a_text_or_ids_or_several_of_them(
    prompt: Any, prompts: tuple[Prompt, ...]
) -> None:
    assert parse({"prompt": prompt}).prompts == prompts


def test_a_suffix_needs_texts() -> None:
    assert parse({"prompt": "a", "suffix": ""}).prompts == (Prompt("a", ""),)
    with pytest.raises(RequestError, match="suffix"):
        parse({"prompt": [1], "suffix": "b"})


def test_n_for_many_prompts_is_limited() -> None:
    with pytest.raises(RequestError, match="n times the number of prompts"):
        parse({"prompt": ["a"] * 64, "n": 16})


def test_zed_gets_what_it_requires(client: Any) -> None:
    prompt = "<fim_prefix>def f(x):\n    return <fim_suffix>\n\nf(1)\n<fim_middle>"
    body = {"model": "codeling", "prompt": prompt, "max_tokens": 8, "stop": ZED_STOPS}
    answer = client.post("/v1/completions", json=body).json()
    assert isinstance(answer["id"], str)
    assert answer["object"] == "text_completion"
    assert isinstance(answer["created"], int)
    assert answer["model"] == "codeling"
    assert isinstance(answer["choices"][0]["text"], str)
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert "fim_" not in answer["choices"][0]["text"]


def test_continue_streams_the_same_text(client: Any) -> None:
    prompt = "<fim_prefix>def f(x):\n    return <fim_suffix>\n\nf(1)\n<fim_middle>"
    body = {"model": "codeling", "prompt": prompt, "max_tokens": 8, "temperature": 0.0}
    whole = client.post("/v1/completions", json=body).json()["choices"][0]
    response = client.post("/v1/completions", json={**body, "stream": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    streamed = events(response.text)
    assert "".join(event["choices"][0]["text"] for event in streamed) == whole["text"]
    reasons = [event["choices"][0]["finish_reason"] for event in streamed]
    assert reasons == [None] * (len(reasons) - 1) + [whole["finish_reason"]]


def test_choices_of_several_prompts_come_in_order(client: Any) -> None:
    body: dict[str, Any] = {"prompt": ["import os", "x = "], "n": 2, "max_tokens": 6}
    body |= {"temperature": 1.0, "seed": 3}
    answer = client.post("/v1/completions", json=body).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    for number, prompt in enumerate(body["prompt"]):
        alone = client.post("/v1/completions", json={**body, "prompt": prompt}).json()
        texts = [choice["text"] for choice in alone["choices"]]
        assert [c["text"] for c in answer["choices"][2 * number : 2 * number + 2]] == texts
        assert texts[0] != texts[1]
    streamed = events(client.post("/v1/completions", json={**body, "stream": True}).text)
    pieces = [""] * 4
    for event in streamed:
        pieces[event["choices"][0]["index"]] += event["choices"][0]["text"]
    assert pieces == [choice["text"] for choice in answer["choices"]]


def test_without_a_temperature_the_first_choice_is_greedy_and_others_differ(client: Any) -> None:
    body = {"prompt": "class A:\n", "max_tokens": 12}
    greedy = client.post("/v1/completions", json=body).json()["choices"][0]["text"]
    several = client.post("/v1/completions", json={**body, "n": 3}).json()["choices"]
    assert several[0]["text"] == greedy
    assert len({choice["text"] for choice in several}) == 3


def test_log_probabilities_stand_beside_their_tokens(client: Any, engine: Engine) -> None:
    body: dict[str, Any] = {
        "prompt": "def f(x):\n    retu",
        "max_tokens": 6,
        "logprobs": 3,
        "echo": True,
    }
    choice = client.post("/v1/completions", json=body).json()["choices"][0]
    found = choice["logprobs"]
    assert len({len(values) for values in found.values()}) == 1
    assert choice["text"].startswith(body["prompt"])
    for token, offset in zip(found["tokens"], found["text_offset"], strict=True):
        assert choice["text"][offset:].startswith(token) or offset + len(token) > len(
            choice["text"]
        )
    for logprob, top in zip(found["token_logprobs"], found["top_logprobs"], strict=True):
        assert logprob <= max(top.values()) + 1e-9
        assert len(top) == 3
    streamed = events(client.post("/v1/completions", json={**body, "stream": True}).text)
    parts = [event["choices"][0]["logprobs"] for event in streamed]
    tokens = [token for part in parts if part for token in part["tokens"]]
    assert tokens == found["tokens"]


def test_usage_ends_a_stream_that_asks_for_it(client: Any) -> None:
    body: dict[str, Any] = {"prompt": "x", "max_tokens": 5, "stream": True}
    body["stream_options"] = {"include_usage": True}
    last = events(client.post("/v1/completions", json=body).text)[-1]
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 5


def test_lm_eval_gets_the_likelihood_of_ids(
    client: Any, engine: Engine, tokenizer: Tokenizer, python_files: list[str]
) -> None:
    """The request of lm-eval's ``local-completions``, and what it reads from the answer."""
    from codeling.evaluation.intrinsic import bits_per_byte
    from codeling.generation.scoring import TorchScorer

    text = python_files[1][:900]
    ids = [tokenizer.end_of_text, *tokenizer.encode(text)]
    body: dict[str, Any] = {"model": "codeling", "prompt": [ids], "temperature": 0, "max_tokens": 1}
    body |= {"logprobs": 1, "seed": 1234, "echo": True}
    choice = client.post("/v1/completions", json=body).json()["choices"][0]
    values = choice["logprobs"]["token_logprobs"]
    assert values[0] is None
    assert len(values) == len(ids) + 1
    expected = bits_per_byte(TorchScorer(engine.model), tokenizer, [text]).nats
    assert -sum(values[1:-1]) == pytest.approx(expected, rel=1e-5)
    greedy = [
        logprob == max(top.values())
        for logprob, top in list(zip(values, choice["logprobs"]["top_logprobs"], strict=True))[1:-1]
    ]
    assert len(greedy) == len(ids) - 1


def test_an_unknown_id_is_refused(client: Any) -> None:
    for body in ({"prompt": [10**6]}, {"prompt": [10**6], "echo": True, "logprobs": 1}):
        response = client.post("/v1/completions", json=body)
        assert response.status_code == 400
        assert "1000000" in response.json()["error"]["message"]


def test_models_are_listed(client: Any) -> None:
    (model,) = client.get("/v1/models").json()["data"]
    assert model["id"] == "codeling"
    assert "gpt" not in model["id"]
    assert model["meta"]["n_ctx_train"] == 128
