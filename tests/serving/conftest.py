"""A small model with random weights, and a client of a server that serves it, without sockets."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from codeling.export.hugging_face import write_model_folder
from codeling.generation.engine import Engine
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2
from codeling.serving.settings import ServerSettings
from codeling.tokenizer.tokenizer import Tokenizer

CONTEXT = 128
_EXTRAS = ("lsprotocol", "openai", "prometheus_client", "pygls", "starlette", "uvicorn")

if any(find_spec(name) is None for name in _EXTRAS):
    collect_ignore_glob = ["*"]  # the extras [serve] and [dev] are not installed


@pytest.fixture(scope="session")
def served_model(tokenizer: Tokenizer) -> GPT2:
    model = GPT2(GPT2Config(tokenizer.vocab_size, CONTEXT, 2, 2, 32))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3, generator=generator)
    return model


@pytest.fixture
def small_model(served_model: GPT2, tokenizer: Tokenizer, tmp_path: Path) -> Path:
    """The folder of :func:`served_model`."""
    write_model_folder(tmp_path / "model", served_model, tokenizer, "# A card\n")
    return tmp_path / "model"


@pytest.fixture
def engine(served_model: GPT2, tokenizer: Tokenizer) -> Engine:
    return Engine.from_model(served_model, tokenizer)


@pytest.fixture(scope="module")
def client(served_model: GPT2, tokenizer: Tokenizer) -> Iterator[Any]:
    """A client of a server without a token."""
    from starlette.testclient import TestClient

    from codeling.serving.http.server import application

    app = application(Engine.from_model(served_model, tokenizer), ServerSettings(threshold=0.0))
    with TestClient(app, base_url="http://127.0.0.1") as opened:
        yield opened


@pytest.fixture(scope="session")
def listening() -> Any:
    """A function: engine and settings to the URL of a server in a thread of this process."""
    import uvicorn

    from codeling.serving.http import server

    @contextmanager
    def listen(engine: Engine, settings: ServerSettings) -> Iterator[str]:
        started = threading.Event()
        ports: list[int] = []
        servers: list[Any] = []
        make = uvicorn.Server

        def remembered(config: Any) -> Any:
            servers.append(make(config))
            return servers[-1]

        def announce(port: int) -> None:
            ports.append(port)
            started.set()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(uvicorn, "Server", remembered)
            thread = threading.Thread(
                target=server.serve, args=(lambda: engine, settings, announce)
            )
            thread.start()
            assert started.wait(20)
            yield f"http://127.0.0.1:{ports[0]}"
            servers[0].should_exit = True
            thread.join(20)
            assert not thread.is_alive()

    return listen
