"""What the benchmarks of the server share: a server, and people who type real files."""

import http.client
import json
import multiprocessing
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from codeling.generation.engine import Engine
from codeling.generation.suggestions.place import asks_at
from codeling.serving.http.server import serve
from codeling.serving.settings import ServerSettings

_MAX_TYPED = 400
"""Characters that are typed at one place of a file."""
_KEEP_SECONDS = 2.0
"""Time for which every server keeps an idle connection."""
MAX_PREFIX, MAX_SUFFIX = 8000, 2000
"""Characters of the file that are sent, before and after the cursor."""


class Answer(NamedTuple):
    """The result of one request. The language server does not report numbers of tokens."""

    seconds: float
    text: str
    num_prompt: int = 0
    num_reused: int = 0
    """Tokens of the prompt that were in the cache."""
    num_new: int = 0


@contextmanager
def served(model: str, *options: str) -> Iterator[str]:
    """URL of a server for ``model`` in a process of its own, without a token."""
    with served_process(model, *options) as (url, _):
        yield url


@contextmanager
def served_process(model: str, *options: str, token: str = "") -> Iterator[tuple[str, int]]:
    """URL and process of a server for ``model``, with ``token`` if it is given."""
    command = [sys.executable, "-m", "codeling", "serve", model, "--port", "0", "--json", *options]
    environment = os.environ | {"CODELING_TOKEN": token}
    with subprocess.Popen(
        command if token else [*command, "--no-token"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["url"], process.pid
        finally:
            process.terminate()


@contextmanager
def served_unsure(model: str) -> Iterator[str]:
    """URL of a server without a memory that also shows and completes improbable text."""
    spawning = multiprocessing.get_context("spawn")
    receiver, sender = spawning.Pipe(duplex=False)
    process = spawning.Process(target=_serve_unsure, args=(model, sender))
    process.start()
    try:
        yield receiver.recv()
    finally:
        process.terminate()
        process.join()


def _serve_unsure(model: str, sender: Connection) -> None:
    serve(
        partial(Engine.load, model, "cpu", "int8"),
        ServerSettings(port=0, threshold=0.0),
        lambda port: sender.send(f"http://127.0.0.1:{port}"),
    )


def python_files(folder: Path, seed: int) -> list[str]:
    """Texts of the Python files in ``folder``, shuffled."""
    paths = sorted(folder.rglob("*.py"))
    random.Random(seed).shuffle(paths)
    texts = (path.read_text(encoding="utf-8", errors="replace") for path in paths)
    return [text for text in texts if len(text) > 2 * _MAX_TYPED]


def keystrokes(texts: Sequence[str], seed: int) -> Iterator[tuple[str, str, bool]]:
    """Text before and after the cursor after each key, and whether an editor asks there.

    A person goes to a line of a file, removes the lines up to ``_MAX_TYPED`` characters on, and
    types them again.
    """
    generator = random.Random(seed)
    while True:
        text = generator.choice(texts)
        begin = text.rfind("\n", 0, generator.randrange(len(text) - _MAX_TYPED)) + 1
        suffix = text[text.find("\n", begin + _MAX_TYPED) :]
        for position in range(begin, len(text) - len(suffix)):
            yield text[:position], suffix, asks_at(text[:position])


def infill_body(prefix: str, suffix: str, slot: int) -> dict[str, Any]:
    """What llama.vim sends for one line of ghost text."""
    texts = {"input_prefix": prefix[-MAX_PREFIX:], "input_suffix": suffix[:MAX_SUFFIX]}
    return texts | {
        "prompt": "",
        "n_predict": 24,
        "id_slot": slot,
        "cache_prompt": True,
        "temperature": 0.0,
    }


class Client:
    """One editor, with a connection that is kept."""

    def __init__(self, url: str, temperature: float = 0.0) -> None:
        """codeling generates several beginnings of a text only if ``temperature`` is 0."""
        parts = urlsplit(url)
        self._asked = {"stop": ["\n"], "temperature": temperature}
        self._last = 0.0
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port)

    def infill(self, prefix: str, suffix: str) -> Answer:
        """One line of ghost text. :raises SystemExit: the server refuses."""
        data = json.dumps(infill_body(prefix, suffix, 0) | self._asked)
        if time.perf_counter() - self._last > _KEEP_SECONDS:
            self._connection.close()
        began = time.perf_counter()
        self._connection.request("POST", "/infill", data, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        body = response.read()
        self._last = time.perf_counter()
        seconds = self._last - began
        if response.status != 200:
            raise SystemExit(f"status {response.status}: {body.decode()}")
        found = json.loads(body)
        num_prompt = found["tokens_evaluated"]
        num_reused = num_prompt - found["timings"]["prompt_n"]
        return Answer(seconds, found["content"], num_prompt, num_reused, found["tokens_predicted"])


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of ``values`` do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class LanguageClient:
    """One editor that speaks the Language Server Protocol to ``codeling lsp``."""

    def __init__(self, model: str, *options: str) -> None:
        command = [sys.executable, "-m", "codeling", "lsp", model, *options]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._number = 0
        self._document = {"uri": "file:///typed.py", "version": 0}
        self.request("initialize", {"processId": None, "rootUri": None, "capabilities": {}})
        self._send({"method": "initialized", "params": {}})
        opened = self._document | {"languageId": "python", "text": ""}
        self._send({"method": "textDocument/didOpen", "params": {"textDocument": opened}})

    def infill(self, prefix: str, suffix: str) -> Answer:
        """Ghost text, and the time to it from the change of the text on."""
        prefix, suffix = prefix[-MAX_PREFIX:], suffix[:MAX_SUFFIX]
        began = time.perf_counter()
        self._document["version"] += 1  # type: ignore[operator]
        changes = [{"text": prefix + suffix}]
        params: dict[str, Any] = {"textDocument": self._document, "contentChanges": changes}
        self._send({"method": "textDocument/didChange", "params": params})
        last_line = prefix.rpartition("\n")[2]
        units = len(last_line.encode("utf-16-le")) // 2
        position = {"line": prefix.count("\n"), "character": units}
        params = {"textDocument": self._document, "position": position}
        found = self.request(
            "textDocument/inlineCompletion", params | {"context": {"triggerKind": 2}}
        )
        items = found["items"]
        return Answer(time.perf_counter() - began, items[0]["insertText"] if items else "")

    def request(self, method: str, params: dict[str, Any]) -> Any:
        """The result of a request."""
        self._number += 1
        self._send({"id": self._number, "method": method, "params": params})
        while True:
            answer = self._receive()
            if answer.get("id") == self._number and "method" not in answer:
                return answer["result"]

    def close(self) -> None:
        """End the server."""
        self._process.terminate()
        self._process.wait()

    def _send(self, message: dict[str, Any]) -> None:
        data = json.dumps({"jsonrpc": "2.0"} | message).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(data) + data)
        self._process.stdin.flush()

    def _receive(self) -> Any:
        stdout = self._process.stdout
        assert stdout is not None
        length = 0
        while line := stdout.readline().strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return json.loads(stdout.read(length))
