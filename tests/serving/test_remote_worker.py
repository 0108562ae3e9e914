"""Forward passes by another server: our own one, and a small one that takes no ids."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from codeling.errors import InputError
from codeling.generation.engine import Engine
from codeling.model.gpt2 import GPT2
from codeling.model.weights import save
from codeling.serving.remote_worker import RemoteRunner, RemoteServer, remote_engine
from codeling.serving.settings import ServerLimits, ServerSettings
from codeling.tokenizer.tokenizer import Tokenizer

TOKEN = "a token of the engine"
BODIES = [
    ("/completion", {"prompt": "def f(x):\n    return ", "n_predict": 8, "temperature": 0.0}),
    ("/completion", {"prompt": "def f(x):\n    ret", "n_predict": 8, "temperature": 0.0}),
    ("/v1/completions", {"prompt": "import os\n", "max_tokens": 5, "temperature": 0.0}),
]


def text_of(answer: Any) -> str:
    return str(answer["content"] if "content" in answer else answer["choices"][0]["text"])


def write_model(path: Path, model: GPT2, tokenizer: Tokenizer) -> None:
    save(path, model, end_of_text_id=tokenizer.end_of_text)
    tokenizer.save(path / "tokenizer.json")


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, served_model: GPT2, tokenizer: Tokenizer
) -> Path:
    path = tmp_path_factory.mktemp("model")
    write_model(path, served_model, tokenizer)
    return path


@pytest.fixture(scope="module")
def engine_url(listening: Any, served_model: GPT2, tokenizer: Tokenizer) -> Iterator[str]:
    settings = ServerSettings(port=0, token=TOKEN, threshold=0.0)
    with listening(Engine.from_model(served_model, tokenizer), settings) as url:
        yield url


@pytest.fixture
def proxy(engine_url: str, folder: Path) -> Iterator[Any]:
    with client_of(RemoteServer(engine_url, TOKEN), folder) as opened:
        yield opened


def client_of(server: RemoteServer, folder: Path) -> Any:
    from starlette.testclient import TestClient

    from codeling.serving.http.server import application

    app = application(remote_engine(str(folder), server), ServerSettings(threshold=0.0))
    return TestClient(app, base_url="http://127.0.0.1")


@pytest.mark.parametrize("path, body", BODIES)
def test_the_text_is_that_of_the_engine(
    proxy: Any, client: Any, path: str, body: dict[str, Any]
) -> None:
    expected = text_of(client.post(path, json=body).json())
    assert text_of(proxy.post(path, json=body).json()) == expected
    streamed = proxy.post(path, json={**body, "stream": True}).text.split("\n\n")
    events = [json.loads(each[6:]) for each in streamed if each and "[DONE]" not in each]
    assert "".join(map(text_of, events)) == expected


def test_log_probabilities_are_those_of_the_engine(proxy: Any, client: Any) -> None:
    body = {"prompt": "def f(x):\n", "max_tokens": 4, "temperature": 0.0, "logprobs": 1}
    found = proxy.post("/v1/completions", json=body).json()["choices"][0]["logprobs"]
    expected = client.post("/v1/completions", json=body).json()["choices"][0]["logprobs"]
    # The engine's first token rewrites the prompt's end, which the proxy takes as certain.
    total = sum(expected["token_logprobs"][1:])
    assert sum(found["token_logprobs"]) == pytest.approx(total)


def test_log_probabilities_of_a_prompt_are_refused(proxy: Any) -> None:
    body = {"prompt": "x = 1", "max_tokens": 0, "echo": True, "logprobs": 1}
    answer = proxy.post("/v1/completions", json=body)
    assert answer.status_code == 400
    assert "need the weights" in answer.json()["error"]["message"]


def test_a_key_that_is_wrong_is_one_line(engine_url: str, folder: Path) -> None:
    with pytest.raises(InputError, match="set CODELING_ENGINE_TOKEN to the one of that server"):
        remote_engine(str(folder), RemoteServer(engine_url, "wrong"))


def test_another_tokenizer_is_refused(
    engine_url: str, tmp_path: Path, served_model: GPT2, python_files: list[str]
) -> None:
    from codeling.recipe import TokenizerRecipe
    from codeling.tokenizer.train import train

    other = train(python_files[:1], TokenizerRecipe(vocab_size=512))
    write_model(tmp_path, served_model, other)
    with pytest.raises(InputError, match="another tokenizer than MODEL"):
        remote_engine(str(tmp_path), RemoteServer(engine_url, TOKEN))


class TextOnly(BaseHTTPRequestHandler):
    """An OpenAI-compatible server whose prompts are texts, without log-probabilities."""

    prompts: ClassVar[list[Any]] = []
    is_broken = False

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._send(200, json.dumps({"data": [{"id": "text-only"}]}))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/completions":
            self._send(404, "{}")
        elif not isinstance(body["prompt"], str) or self.is_broken:
            self._send(422, json.dumps({"error": {"message": "no ids here"}}))
        else:
            self.prompts.append(body["prompt"])
            events = [{"choices": [{"text": each}]} for each in ("alpha", ")", "\nbeta")]
            self._send(200, "".join(f"data: {json.dumps(each)}\n\n" for each in events))

    def _send(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())


class LlamaCpp(TextOnly):
    """llama.cpp's server, as build 11434 answers: log-probabilities in the form of chats."""

    tokenizer: ClassVar[Tokenizer]
    bodies: ClassVar[list[Any]] = []
    error: ClassVar[dict[str, Any] | None] = None

    def do_GET(self) -> None:
        served = {"id": "model.gguf", "object": "model", "owned_by": "llamacpp"}
        self._send(200, json.dumps({"object": "list", "data": [served]}))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/tokenize":
            self._send(200, json.dumps({"tokens": self.tokenizer.encode(body["content"])}))
            return
        if not body.get("stream"):
            self._send(200, json.dumps(self._event("a", None)))
            return
        self.bodies.append(body)
        events = [self._event("alpha", -0.5), self._event(")", -0.25), self._event("", None)]
        if self.error:
            events = [events[0], {"error": self.error}]
        self._send(200, "".join(f"data: {json.dumps(each)}\n\n" for each in events))

    def _event(self, text: str, logprob: float | None) -> dict[str, Any]:
        token = {"id": 5, "token": text, "bytes": [*text.encode()], "logprob": logprob}
        content = {"content": [{**token, "top_logprobs": [token]}]}
        reason, logprobs = ("length", None) if logprob is None else (None, content)
        choice = {"text": text, "index": 0, "logprobs": logprobs, "finish_reason": reason}
        return {"choices": [choice], "object": "text_completion"}


@contextmanager
def listening_to(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def text_only() -> Iterator[str]:
    with listening_to(TextOnly) as url:
        yield url


@pytest.fixture
def llama_cpp(folder: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(LlamaCpp, "tokenizer", tokenizer, raising=False)
    with listening_to(LlamaCpp) as url, client_of(RemoteServer(url), folder) as opened:
        yield opened


def test_a_server_without_ids_gets_the_names_of_special_tokens(
    text_only: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with client_of(RemoteServer(text_only), folder) as proxy:
        body = {"input_prefix": "x = f(", "input_suffix": ")\ny = 1\n"}
        answer = proxy.post("/infill", json=body)
        assert answer.json()["content"] == "alpha"
        assert TextOnly.prompts[-1] == (
            "<|endoftext|><fim_prefix><fim_suffix>)\ny = 1\n<fim_middle>x = f("
        )
        monkeypatch.setattr(TextOnly, "is_broken", True)
        refused = proxy.post("/completion", json={"prompt": "x"})
        assert refused.status_code == 502
        assert "no ids here" in refused.json()["error"]["message"]


def test_llama_cpp_gets_ids_and_samples_from_all_tokens(
    llama_cpp: Any, tokenizer: Tokenizer
) -> None:
    llama_cpp.post("/completion", json={"prompt": "x", "temperature": 0.8})
    body = LlamaCpp.bodies[-1]
    assert body["prompt"] == [tokenizer.end_of_text, *tokenizer.encode("x")]
    assert (body["temperature"], body["top_k"], body["top_p"], body["min_p"]) == (0.8, 0, 1.0, 0.0)
    llama_cpp.post("/completion", json={"prompt": "x", "temperature": 0.8, "top_k": 5})
    assert LlamaCpp.bodies[-1]["top_k"] == 5


@pytest.mark.parametrize("num_new", [1, 40, 10_000])
@pytest.mark.parametrize("length", [0, 1, 50, 250, 4_000])
def test_what_llama_cpp_gets_fits_the_context(
    llama_cpp: Any, served_model: GPT2, tokenizer: Tokenizer, length: int, num_new: int
) -> None:
    context = served_model.config.context_length
    text = "x = f(y)\n" * length
    llama_cpp.post("/completion", json={"prompt": text, "n_predict": num_new})
    sides = {"input_prefix": text + "y = ", "input_suffix": "\n" + text + "z = 1\n"}
    llama_cpp.post("/infill", json=sides)
    assert tokenizer.fim_middle in LlamaCpp.bodies[-1]["prompt"]
    for body in LlamaCpp.bodies[-2:]:
        assert 1 <= len(body["prompt"]) <= context - body["max_tokens"]
    assert LlamaCpp.bodies[-2]["max_tokens"] == min(
        num_new, context - len(LlamaCpp.bodies[-2]["prompt"])
    )


def test_log_probabilities_of_llama_cpp(llama_cpp: Any) -> None:
    body = {"prompt": "x", "max_tokens": 8, "logprobs": 1}
    choice = llama_cpp.post("/v1/completions", json=body).json()["choices"][0]
    assert choice["text"] == "alpha)"
    assert sum(choice["logprobs"]["token_logprobs"]) == pytest.approx(-0.75)


def test_an_error_within_the_stream_of_an_engine_is_502(
    llama_cpp: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = {"code": 500, "message": "Context size has been exceeded.", "type": "server_error"}
    monkeypatch.setattr(LlamaCpp, "error", error)
    answer = llama_cpp.post("/completion", json={"prompt": "x"})
    assert answer.status_code == 502
    message = answer.json()["error"]["message"]
    assert message.startswith("the engine at http://127.0.0.1:")
    assert message.endswith(": Context size has been exceeded.")
    assert message.count("the engine at") == 1


def test_an_engine_that_is_gone_is_one_line(folder: Path, tokenizer: Tokenizer) -> None:
    gone = RemoteServer("http://127.0.0.1:9")
    with pytest.raises(InputError, match="no answer from a server"):
        remote_engine(str(folder), gone)
    assert RemoteRunner(gone, 8, 8).copy().context_length == 8


def test_health_reports_that_the_engine_is_gone_and_back(
    engine_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    server = RemoteServer(engine_url, TOKEN)
    with client_of(server, folder) as proxy:
        monkeypatch.setattr(server, "_now", lambda: now[0])
        assert proxy.get("/health").json() == {"status": "ok"}
        monkeypatch.setattr(server, "url", "http://127.0.0.1:9")
        assert proxy.get("/health").status_code == 200  # it answered just now
        now[0] = 3.0
        answer = proxy.get("/health")
        assert answer.status_code == 503
        assert answer.json()["status"] == "engine unreachable"
        message = answer.json()["error"]["message"]
        assert message.startswith("no answer from the engine at http://127.0.0.1:9 (")
        monkeypatch.setattr(server, "url", engine_url)
        assert proxy.get("/health").status_code == 503
        now[0] = 6.0
        assert proxy.get("/health").json() == {"status": "ok"}


def test_a_deadline_ends_a_completion_of_the_engine(engine_url: str, folder: Path) -> None:
    from starlette.testclient import TestClient

    from codeling.serving.http.server import application

    engine = remote_engine(str(folder), RemoteServer(engine_url, TOKEN))
    limits = ServerLimits(request_seconds=0.3, max_new_tokens=100_000)
    app = application(engine, ServerSettings(limits=limits))
    with TestClient(app, base_url="http://127.0.0.1") as proxy:
        body = {"prompt": "x = ", "n_predict": 100_000, "temperature": 1.0}
        answer = proxy.post("/completion", json=body)
        assert answer.status_code == 200
        assert answer.json()["stop_type"] in ("limit", "eos")
