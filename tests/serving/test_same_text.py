"""The law of the dialects: the same request gives the same text, alone and among others."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from codeling.generation.engine import Engine
from codeling.generation.suggestions.suggester import Suggester
from codeling.serving.protocol.query import Prompt, Query
from codeling.serving.requests import plans
from codeling.tokenizer.tokenizer import Tokenizer

PLACES = [
    ("def f(x):\n    return ", "\n\nf(1)\n"),
    ("class A:\n    def g(self):\n", "\n\nprint(A())\n"),
    ("print(", ")\n"),
    ("import os\n", ""),
    ("na", "me"),
]
SETTINGS: list[dict[str, Any]] = [{}, {"temperature": 1.2, "seed": 9}]

Ask = Callable[[Any, str, str, dict[str, Any]], str]


def openai(client: Any, prefix: str, suffix: str, settings: dict[str, Any]) -> str:
    body = {"prompt": prefix, "suffix": suffix, "max_tokens": 16, **settings}
    return str(client.post("/v1/completions", json=body).json()["choices"][0]["text"])


def openai_markers(client: Any, prefix: str, suffix: str, settings: dict[str, Any]) -> str:
    prompt = f"<fim_prefix>{prefix}<fim_suffix>{suffix}<fim_middle>"
    body = {"prompt": prompt, "max_tokens": 16, **settings}
    return str(client.post("/v1/completions", json=body).json()["choices"][0]["text"])


def openai_ids(client: Any, prefix: str, suffix: str, settings: dict[str, Any]) -> str:
    markers = [1, 3, 2]  # prefix, suffix, middle: the order of tokenizer.json is another
    tokenize = [
        client.post("/tokenize", json={"content": text}).json()["tokens"]
        for text in (prefix, suffix)
    ]
    ids = [markers[0], *tokenize[0], markers[1], *tokenize[1], markers[2]]
    body = {"prompt": ids, "max_tokens": 16, **settings}
    return str(client.post("/v1/completions", json=body).json()["choices"][0]["text"])


def infill(client: Any, prefix: str, suffix: str, settings: dict[str, Any]) -> str:
    half = len(prefix) // 2
    body = {"input_prefix": prefix[:half], "prompt": prefix[half:], "input_suffix": suffix}
    return str(client.post("/infill", json={**body, "n_predict": 16, **settings}).json()["content"])


def ollama(client: Any, prefix: str, suffix: str, settings: dict[str, Any]) -> str:
    prompt = f"<fim_prefix>{prefix}<fim_suffix>{suffix}<fim_middle>"
    body = {"prompt": prompt, "stream": False, "options": {"num_predict": 16, **settings}}
    return str(client.post("/api/generate", json=body).json()["response"])


def tabby(client: Any, prefix: str, suffix: str, settings: dict[str, Any]) -> str:
    body = {"segments": {"prefix": prefix, "suffix": suffix}, **settings}
    return str(client.post("/v1/completions", json=body).json()["choices"][0]["text"])


def marimo(client: Any, prefix: str, suffix: str, settings: dict[str, Any]) -> str:
    messages = [{"role": "user", "content": f"{prefix}<FILL_ME>{suffix}"}]
    body = {"messages": messages, "max_tokens": 16, **settings}
    answer = client.post("/v1/chat/completions", json=body).json()
    return str(answer["choices"][0]["message"]["content"])


DIALECTS: list[Ask] = [openai, openai_markers, openai_ids, infill, ollama, marimo]


@pytest.mark.parametrize("prefix, suffix", PLACES)
@pytest.mark.parametrize("settings", SETTINGS)
def test_every_dialect_infills_with_the_text_of_the_engine(
    client: Any, engine: Engine, prefix: str, suffix: str, settings: dict[str, Any]
) -> None:
    query = Query((Prompt(prefix, suffix),), max_new_tokens=16, **settings)
    (plan,) = plans(query, Suggester(engine), 64)
    expected = ""
    if plan.request is not None and plan.shown is not None:
        sequence = engine.add(plan.request)
        while sequence.finish_reason is None:
            engine.step()
        expected = plan.shown(sequence)
    if not settings:
        suggestion = Suggester(engine).suggest(prefix, suffix)
        assert (suggestion.text if suggestion else "").startswith(expected)
    assert [ask(client, prefix, suffix, settings) for ask in DIALECTS] == [expected] * len(DIALECTS)
    assert tabby(client, prefix, suffix, settings).startswith(expected)


def test_a_request_among_sixteen_others_gets_the_same_text(client: Any) -> None:
    def other(number: int) -> str:
        body = {"prompt": f"x{number} = ", "n_predict": 40, "temperature": 1.0, "seed": number}
        return str(client.post("/completion", json=body).json()["content"])

    pairs = [(ask, PLACES[number % 3]) for number, ask in enumerate(DIALECTS)]
    alone = [ask(client, *place, SETTINGS[1]) for ask, place in pairs]
    others = [other(number) for number in range(16)]
    with ThreadPoolExecutor(17) as pool:
        running = [pool.submit(other, number) for number in range(16)]
        asked = [ask(client, *place, SETTINGS[1]) for ask, place in pairs]
        assert [each.result() for each in running] == others
    assert asked == alone


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_plain_prompt_gets_the_text_of_the_engine(
    client: Any, engine: Engine, tokenizer: Tokenizer, settings: dict[str, Any]
) -> None:
    prompt = "def f(x):\n    return "
    expected = engine.complete(prompt, max_new_tokens=16, **settings).text
    ids = [tokenizer.end_of_text, *tokenizer.encode(prompt)]
    for given in (prompt, ids):
        body = {"prompt": given, "max_tokens": 16, **settings}
        answer = client.post("/v1/completions", json=body).json()
        assert answer["choices"][0]["text"] == expected
        body = {"prompt": given, "n_predict": 16, **settings}
        assert client.post("/completion", json=body).json()["content"] == expected
    body = {"prompt": prompt, "stream": False, "options": {"num_predict": 16, **settings}}
    assert client.post("/api/generate", json=body).json()["response"] == expected
