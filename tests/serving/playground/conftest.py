"""A server of the small model with a memory, and with a run folder that has an index and pages."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from codeling.generation.engine import Engine
from codeling.memory.gating.parameters import load_parameters
from codeling.memory.mixture import MemoryMixture
from codeling.model.gpt2 import GPT2
from codeling.provenance.index import build
from codeling.run_folder import RunFolder
from codeling.serving.settings import ServerSettings
from codeling.tokenizer.tokenizer import Tokenizer

TOKEN = "a-token-of-sixteen-and-more"
PASSAGE = "\n".join(
    f"def function_{n}(first, second):\n    return first + second * {n}" for n in range(9)
)
HOSTILE = "<script>alert(1)</script>\u202e<fim_prefix>"


@dataclass
class IndexedText:
    repository: str
    path: str
    text: str
    license: str
    url: str = ""
    start_line: int = 1


def typing_result() -> dict[str, Any]:
    event = {"position": 4, "shown": "mean(xs)", "accepted": 5, "saved": 4}
    counts = {"characters": 20, "saved": 4, "accepted": 1, "shown": 1, "wrong": 0}
    record = {
        "task_id": HOSTILE,
        "begin": 0,
        "text": "def mean(xs):\n",
        "events": [event],
        **counts,
    }
    return {"settings": {"accept": "word"}, "problems": [record, {"task_id": "without text"}]}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("run")
    build([IndexedText(HOSTILE, f"{HOSTILE}.py", PASSAGE, HOSTILE)], folder / "provenance")
    (folder / "report.html").write_text("the report")
    (folder / "secret.html").write_text("not a page")
    result = folder / "evaluation" / "typing-12345678"
    result.mkdir(parents=True)
    (result / "evaluation.json").write_text(json.dumps(typing_result()))
    (result / "evaluation.html").write_text("the page of the suite")
    return RunFolder(folder)


@pytest.fixture(scope="module")
def remembering(served_model: GPT2, tokenizer: Tokenizer) -> Engine:
    """The small model with a memory of the open file."""
    engine = Engine.from_model(served_model, tokenizer)
    engine.memory = MemoryMixture(load_parameters(), tokenizer.token_bytes)
    return engine


@pytest.fixture(scope="module")
def playground(remembering: Engine, run: RunFolder) -> Iterator[Any]:
    """A client that sends the token."""
    from starlette.testclient import TestClient

    from codeling.serving.http.server import application

    app = application(remembering, ServerSettings(token=TOKEN, threshold=0.0), run=run)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with TestClient(app, base_url="http://127.0.0.1:8012", headers=headers) as opened:
        yield opened
