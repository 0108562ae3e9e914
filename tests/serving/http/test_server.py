"""One real socket: the ``openai`` package, a signal, and addresses that cannot be used."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codeling.errors import UsageError
from codeling.generation.engine import Engine
from codeling.generation.scoring import score
from codeling.model.gpt2 import GPT2
from codeling.serving.http import server
from codeling.serving.settings import ServerSettings
from codeling.tokenizer.tokenizer import Tokenizer

TOKEN = "a token of the tests"


@pytest.fixture(scope="module")
def address(listening: Any, served_model: GPT2, tokenizer: Tokenizer) -> Iterator[str]:
    """URL of a server with a token, in a thread of this process."""
    engine = Engine.from_model(served_model, tokenizer)
    with listening(engine, ServerSettings(port=0, token=TOKEN)) as url:
        yield url


@pytest.fixture
def openai_client(address: str) -> Iterator[Any]:
    import openai

    with openai.OpenAI(base_url=f"{address}/v1", api_key=TOKEN, max_retries=0) as client:
        yield client


def test_openais_package_completes_streams_and_reads_log_probabilities(
    openai_client: Any, served_model: GPT2, tokenizer: Tokenizer
) -> None:
    prompt = "def f(x):\n    return "
    expected = Engine.from_model(served_model, tokenizer).complete(prompt, max_new_tokens=8).text
    whole = openai_client.completions.create(
        model="codeling", prompt=prompt, max_tokens=8, logprobs=2
    )
    assert whole.choices[0].text == expected
    assert "".join(whole.choices[0].logprobs.tokens).endswith(expected)
    assert whole.usage.completion_tokens == 8
    stream = openai_client.completions.create(
        model="codeling", prompt=prompt, max_tokens=8, stream=True
    )
    assert "".join(event.choices[0].text for event in stream) == expected
    assert [model.id for model in openai_client.models.list()] == ["codeling"]


def test_openais_package_reports_errors(address: str, openai_client: Any) -> None:
    import openai

    with pytest.raises(openai.BadRequestError, match="temperature"):
        openai_client.completions.create(model="codeling", prompt="x", temperature=1000)
    with (
        openai.OpenAI(base_url=f"{address}/v1", api_key="wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError, match="token that the server printed"),
    ):
        stranger.models.list()


@pytest.mark.proof
@pytest.mark.filterwarnings("ignore")
def test_lm_eval_gets_the_log_likelihoods_of_the_model(
    listening: Any, served_model: GPT2, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    package = "lm_eval.models.openai_completions"
    api: Any = pytest.importorskip(package, reason="needs pip install 'lm-eval[api]'")
    instance: Any = pytest.importorskip("lm_eval.api.instance")
    tokenizer.save_for_hugging_face(tmp_path, 128)
    pairs = [("def f(x):\n    return", " x"), ("import os\nfor", " a in b:"), ("x = [", "1, 2]")]
    engine = Engine.from_model(served_model, tokenizer)
    with listening(engine, ServerSettings(port=0)) as url:
        model = api.LocalCompletionsAPI(
            base_url=f"{url}/v1/completions",
            model="codeling",
            tokenizer=str(tmp_path),
            tokenizer_backend="huggingface",
            max_length=128,
        )
        requests = [instance.Instance("loglikelihood", {}, pair, 0) for pair in pairs]
        found = [logprob for logprob, _ in model.loglikelihood(requests)]
    for (context, continuation), logprob in zip(pairs, found, strict=True):
        first = len(tokenizer.encode(context))
        scores = list(score(served_model, tokenizer.encode(context + continuation), 0))
        assert logprob == pytest.approx(sum(each.logprob for each in scores[first - 1 :]))


def test_an_address_that_cannot_be_used_is_one_line(address: str) -> None:
    port = int(address.rpartition(":")[2])
    for host, number in (("127.0.0.1", port), ("203.0.113.1", 0)):
        with pytest.raises(UsageError, match=f"cannot listen on {host} port {number}"):
            server.listen(host, number)


def test_answers_are_sent_without_delay(address: str) -> None:
    """asyncio looks at the protocol of the listening socket before it sets TCP_NODELAY."""
    with server.listen("127.0.0.1", 0) as bound:
        assert bound.proto == socket.IPPROTO_TCP


def test_the_address_is_checked_before_the_model_is_loaded() -> None:
    def load() -> Engine:
        raise AssertionError

    with pytest.raises(UsageError, match="--no-token is for this machine only"):
        server.serve(load, ServerSettings("0.0.0.0", 0), lambda port: None)
