import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from codeling.generation.engine import Engine
from codeling.serving.protocol import chat, llama_cpp, ollama, openai, tabby
from codeling.serving.protocol.fields import Body
from codeling.serving.settings import ServerSettings

CHAT = "/v1/chat/completions"
BODIES: list[type[Body]] = [
    chat.ChatCompletion,
    llama_cpp.LlamaCompletion,
    llama_cpp.LlamaDetokenize,
    llama_cpp.LlamaInfill,
    llama_cpp.LlamaTokenize,
    ollama.OllamaGenerate,
    ollama.OllamaShow,
    openai.OpenAICompletion,
    tabby.TabbyCompletion,
    tabby.TabbyEvent,
]


def test_the_description_has_every_field_of_every_dialect(client: Any) -> None:
    description = client.get("/openapi.json").json()
    schemas = description["components"]["schemas"]
    for body in BODIES:
        assert set(schemas[body.__name__]["properties"]) == set(body.model_fields)
    completions = description["paths"]["/v1/completions"]["post"]["requestBody"]["content"]
    kinds = completions["application/json"]["schema"]["anyOf"]
    assert {"$ref": "#/components/schemas/TabbyCompletion"} in kinds


def test_every_route_is_described_or_named_as_left_out(client: Any) -> None:
    description = client.get("/openapi.json").json()
    app = client.app._app
    left_out = {each.path for each in app.routes} - set(description["paths"])
    assert "/playground/complete" in left_out
    assert all(path == "/" or path.startswith(("/playground/", "/run/")) for path in left_out)
    assert "/playground/ and /run/" in description["info"]["description"]


def test_ids_are_limited_by_the_vocabulary(client: Any) -> None:
    description = client.get("/openapi.json").json()
    ids = description["components"]["schemas"]["LlamaDetokenize"]["properties"]["tokens"]["items"]
    num_tokens = client.get("/v1/models").json()["data"][0]["meta"]["n_vocab"]
    assert ids["exclusiveMaximum"] == num_tokens
    for each, status in ((num_tokens - 1, 200), (num_tokens, 400)):
        answer = client.post("/detokenize", json={"tokens": [each]})
        assert answer.status_code == status
    assert answer.json()["error"]["message"].startswith(f"tokens: id {num_tokens} is not one of")


def test_described_routes_name_their_methods(client: Any) -> None:
    for path, operations in client.get("/openapi.json").json()["paths"].items():
        response = client.request("TRACE", path)
        assert response.status_code == 405
        allowed = response.headers["allow"].lower().split(", ")
        assert set(operations) <= set(allowed)


@pytest.mark.proof
def test_schemathesis_finds_nothing(listening: Any, engine: Engine, tmp_path: Path) -> None:
    pytest.importorskip("schemathesis", reason="needs codeling[bench]")
    command = [str(Path(sys.executable).parent / "schemathesis"), "run", "--no-color"]
    options = ["--phases", "coverage,fuzzing", "--max-examples", "50", "--generation-deterministic"]
    # Most chats are refused on purpose: the last message must contain <FILL_ME>.
    lenient = ["--include-path", CHAT, "--exclude-checks", "positive_data_acceptance"]
    with listening(engine, ServerSettings(port=0)) as url:
        for chosen in (["--exclude-path", CHAT], lenient):
            done = subprocess.run(
                [*command, f"{url}/openapi.json", *options, *chosen],
                capture_output=True,
                text=True,
                check=False,
                cwd=tmp_path,  # it keeps what it found there
            )
            assert done.returncode == 0, done.stdout
