"""What the benchmarks of the server share: a server, and people who type real files."""

import http.client
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from codeling.generation.suggestions.place import asks_at

_MAX_TYPED = 400
"""Characters that are typed at one place of a file."""


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
    texts = {"input_prefix": prefix[-8000:], "input_suffix": suffix[:2000], "prompt": ""}
    return texts | {"n_predict": 24, "id_slot": slot, "cache_prompt": True, "temperature": 0.0}


class Client:
    """One editor, with a connection that is kept."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port)

    def infill(self, prefix: str, suffix: str, slot: int) -> tuple[float, int, dict[str, Any]]:
        """Seconds until the whole answer, its status, and its body."""
        data = json.dumps(infill_body(prefix, suffix, slot))
        began = time.perf_counter()
        self._connection.request("POST", "/infill", data, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        answer = response.read()
        return time.perf_counter() - began, response.status, json.loads(answer)


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

    def infill(self, prefix: str, suffix: str) -> tuple[float, str]:
        """Seconds from the change of the text to the ghost text, and that text."""
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
        return time.perf_counter() - began, items[0]["insertText"] if items else ""

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
