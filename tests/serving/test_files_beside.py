"""What editors send beside the open file is known for that request, and for that request alone."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from codeling.generation.engine import Engine
from codeling.memory.gating.parameters import load_parameters
from codeling.memory.mixture import MemoryMixture
from codeling.memory.sent_files import SentFiles
from codeling.model.gpt2 import GPT2
from codeling.serving.lsp.completer import (
    Completed,
    Completer,
    LocalCompleter,
    RemoteCompleter,
)
from codeling.serving.protocol.query import SentFile
from codeling.serving.service import Service
from codeling.serving.settings import ServerLimits, ServerSettings
from codeling.tokenizer.tokenizer import Tokenizer

NAME = "quaternion_workshop"
BESIDE = [SentFile("tools/shop.py", f"value = {NAME}(1)\n" * 8)]
PREFIX = "value = quater"

Ask = Callable[[Any, list[SentFile]], Any]


def with_memory(model: GPT2, tokenizer: Tokenizer) -> Engine:
    engine = Engine.from_model(model, tokenizer)
    parameters = load_parameters()
    files = SentFiles(tokenizer, parameters.trust["project"])
    engine.memory = MemoryMixture(parameters, tokenizer.token_bytes, sent_files=files)
    return engine


@pytest.fixture(scope="module")
def known(served_model: GPT2, tokenizer: Tokenizer) -> Iterator[Any]:
    """A client of a server with a memory."""
    from starlette.testclient import TestClient

    from codeling.serving.http.server import application

    app = application(with_memory(served_model, tokenizer), ServerSettings(threshold=0.0))
    with TestClient(app, base_url="http://127.0.0.1") as opened:
        yield opened


def infill(client: Any, files: list[SentFile]) -> Any:
    extra = [{"filename": each.path, "text": each.text, "time": [1, 2]} for each in files]
    body = {"input_prefix": PREFIX, "input_suffix": "", "input_extra": extra, "sources": True}
    return client.post("/infill", json=body)


def tabby(client: Any, files: list[SentFile], key: str = "declarations") -> Any:
    snippets = [{"filepath": each.path, "body": each.text, "score": 1} for each in files]
    segments = {"prefix": PREFIX, "suffix": "", key: snippets, "clipboard": "x"}
    return client.post("/v1/completions", json={"segments": segments})


def changed(client: Any, files: list[SentFile]) -> Any:
    return tabby(client, files, "relevant_snippets_from_changed_files")


def text(response: Any) -> str:
    assert response.status_code == 200, response.text
    answer = response.json()
    return str(answer["content"] if "content" in answer else answer["choices"][0]["text"])


@pytest.mark.parametrize("ask", [infill, tabby, changed])
def test_a_name_that_is_only_in_another_file_is_suggested(known: Any, ask: Ask) -> None:
    alone = text(ask(known, []))
    assert not alone.startswith(NAME.removeprefix("quater"))
    assert text(ask(known, BESIDE)).startswith(NAME.removeprefix("quater"))
    assert text(ask(known, [])) == alone  # another client, or the same one without them


def test_sources_name_the_file_beside(known: Any) -> None:
    sources = infill(known, BESIDE).json()["sources"]
    assert sources
    for source in sources:
        if source["source"] == "project":
            assert source["path"] == "tools/shop.py"
            assert 1 <= source["start_line"] <= source["end_line"] <= 9
    assert any(source["source"] == "project" for source in sources)


def test_a_thousand_files_are_read_as_far_as_they_fit(known: Any) -> None:
    many = [SentFile(f"{number}.py", f"x{number} = 1\n" * 200) for number in range(999)]
    assert text(infill(known, [*many, *BESIDE])).startswith(NAME.removeprefix("quater"))
    large = [SentFile(each.path, each.text * 20) for each in BESIDE]
    assert text(infill(known, [*many, *large])).startswith(NAME.removeprefix("quater"))
    assert not text(infill(known, [*large, *many])).startswith(NAME.removeprefix("quater"))


@pytest.mark.parametrize(
    "extra, place",
    [
        ("x", "input_extra: "),
        ({"text": "x"}, "input_extra: "),
        ([{"filename": "a.py"}], "input_extra.0.text: "),
        ([{"filename": 1, "text": "x"}], "input_extra.0.filename: "),
        ([{"filename": "a" * 5000, "text": "x"}], "input_extra.0.filename: "),
        ([{"text": "x"}, "y"], "input_extra.1: "),
        ([{"text": "x"}] * 2000, "input_extra: "),
    ],
)
def test_malformed_files_are_refused_in_one_line(client: Any, extra: Any, place: str) -> None:
    answer = client.post("/infill", json={"input_prefix": "x", "input_extra": extra})
    assert answer.status_code == 400
    message = answer.json()["error"]["message"]
    assert message.startswith(place)
    assert "\n" not in message
    segments = {"prefix": "x", "declarations": extra}
    assert client.post("/v1/completions", json={"segments": segments}).status_code == 400


def test_a_model_without_a_memory_ignores_them(client: Any) -> None:
    assert text(infill(client, BESIDE)) == text(infill(client, []))


def test_the_language_server_gets_the_same_from_a_model_and_from_a_server(
    served_model: GPT2, tokenizer: Tokenizer, listening: Any
) -> None:
    async def completed(completer: Completer) -> list[Completed]:
        given: list[list[SentFile]] = [[], BESIDE]
        try:
            return [await completer.complete(PREFIX, "", "u", files) for files in given]
        finally:
            completer.close()

    engine = with_memory(served_model, tokenizer)
    local = asyncio.run(completed(LocalCompleter(Service(engine, ServerLimits()))))
    with listening(engine.copy(), ServerSettings(port=0, threshold=0.0)) as url:
        remote = asyncio.run(completed(RemoteCompleter(url, None)))
    assert local[1].text.startswith(NAME.removeprefix("quater"))
    assert [each.text for each in local] == [each.text for each in remote]
    for ours, theirs in zip(local[1].spans, remote[1].spans, strict=True):
        assert (ours.text, ours.source, ours.path, ours.start_line, ours.end_line) == (
            theirs.text, theirs.source, theirs.path, theirs.start_line, theirs.end_line,
        )  # fmt: skip
    assert any(each.path == BESIDE[0].path for each in local[1].spans)
