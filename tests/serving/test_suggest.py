from dataclasses import replace
from typing import Any

import pytest

from codeling.generation.engine import Engine
from codeling.generation.suggestions.suggester import Suggester, SuggestionSettings
from codeling.model.gpt2 import GPT2
from codeling.serving.protocol.query import Prompt, Query
from codeling.serving.requests import plans
from codeling.serving.settings import ServerSettings
from codeling.serving.suggest import SuggestionPlan
from codeling.tokenizer.tokenizer import Tokenizer

QUERY = Query((), max_new_tokens=200, temperature=0.5, top_k=7, top_p=0.9, seed=3, stop=("END",))


@pytest.fixture
def suggester(engine: Engine) -> Suggester:
    return Suggester(engine, SuggestionSettings(0.3))


def plan(suggester: Suggester, prefix: str, suffix: str, query: Query = QUERY) -> SuggestionPlan:
    query = replace(query, prompts=(Prompt(prefix, suffix),))
    [found] = plans(query, suggester, 1024, first_sample=2)
    return found


def test_the_rules_and_the_query_both_hold(suggester: Suggester) -> None:
    request = plan(suggester, "def f():\n    ", "\nf()\n").request
    assert request is not None
    assert request.params.stop_at_block_end
    assert request.params.stops == ("END",)
    assert (request.params.temperature, request.params.top_k, request.sample) == (0.5, 7, 2)
    line = plan(suggester, "x = ", "\nf()\n").request
    assert line is not None
    assert line.params.stops == ("\n", "END")
    assert line.params.min_probability
    assert line.params.max_new_tokens < 200
    assert line.params.num_branches == 1  # it is sampled
    short = plan(suggester, "x = ", "", Query((), max_new_tokens=3, temperature=0.0)).request
    assert short is not None
    assert short.params.max_new_tokens == 3
    assert short.params.num_branches > 1


def test_tokens_of_a_suggestion_are_those_of_its_text(client: Any, tokenizer: Tokenizer) -> None:
    """Whoever wrote the text, and where nothing is shown."""
    seen = set()
    for number in range(12):
        prefix, suffix = f"total_{number} = {number}\nprint(to", "\n"
        body = {"input_prefix": prefix, "input_suffix": suffix, "n_predict": 6}
        found = client.post("/infill", json=body).json()
        shown = tokenizer.decode(found["tokens"])
        assert found["content"] in shown
        seen.add(bool(found["content"]))
        assert found["withheld"] is (not found["content"] and found["tokens_predicted"] > 0)
        asked = {"prompt": prefix, "suffix": suffix, "max_tokens": 6, "logprobs": 2}
        choice = client.post("/v1/completions", json=asked).json()["choices"][0]
        assert choice["text"] == found["content"]
        scores = choice["logprobs"]
        assert "".join(scores["tokens"]) == shown
        if not found["content"]:
            assert (found["tokens"], scores["token_logprobs"]) == ([], [])
    assert True in seen


def test_a_withheld_suggestion_has_no_tokens(served_model: GPT2, tokenizer: Tokenizer) -> None:
    from starlette.testclient import TestClient

    from codeling.serving.http.server import application

    app = application(Engine.from_model(served_model, tokenizer), ServerSettings(threshold=1.0))
    with TestClient(app, base_url="http://127.0.0.1") as strict:
        body = {"input_prefix": "q = ", "input_suffix": "\n", "n_predict": 6}
        found = strict.post("/infill", json=body).json()
        assert (found["content"], found["tokens"], found["withheld"]) == ("", [], True)
        assert found["tokens_predicted"] > 0
        asked = {"prompt": "q = ", "suffix": "\n", "max_tokens": 6, "logprobs": 2}
        for stream in (False, True):
            text = strict.post("/v1/completions", json={**asked, "stream": stream}).text
            assert '"tokens":["' not in text
        plain = strict.post("/completion", json={"prompt": "q = ", "n_predict": 3}).json()
        assert (len(plain["tokens"]), plain["withheld"]) == (3, False)


def test_nothing_is_asked_for_within_a_word(suggester: Suggester) -> None:
    assert plan(suggester, "na", "me = 1\n").request is None
