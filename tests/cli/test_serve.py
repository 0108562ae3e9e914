import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from .conftest import COMMAND, Call


@pytest.fixture(scope="module", autouse=True)
def _needs_the_extra() -> None:
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")


def test_a_served_run_answers_and_finishes_its_requests_after_sigterm(finished: Path) -> None:
    with subprocess.Popen(
        [sys.executable, str(COMMAND), "serve", str(finished), "--port", "0", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        started = json.loads(process.stdout.readline())
        assert started["pid"] == process.pid
        headers = {"Authorization": f"Bearer {started['token']}"}
        body = {"prompt": "x = 1\n", "max_tokens": 400, "stream": True, "temperature": 1.5}
        request = urllib.request.Request(
            f"{started['url']}/v1/completions", json.dumps(body).encode(), headers
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            first = response.readline()
            process.send_signal(signal.SIGTERM)
            rest = response.read()
        assert first.startswith(b"data: {")
        assert rest.endswith(b"data: [DONE]\n\n")
        began = time.monotonic()
        assert process.wait(20) == 130
        assert time.monotonic() - began < 8
        assert process.stderr.read() == "codeling: stopped\n"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["nowhere"], "nowhere"),
        (["RUN", "--host", "0.0.0.0", "--no-token"], "--no-token is for this machine only"),
        (["RUN", "--host", "203.0.113.1"], "cannot listen on 203.0.113.1"),
        (["RUN", "--port", "70000"], "--port"),
        (["RUN", "--engine", "http://127.0.0.1:1", "--project", "."], "--project is not for --eng"),
        (["RUN", "--engine", "http://127.0.0.1:1", "--memory", "auto"], "--memory is not for"),
        (["RUN", "--engine", "http://127.0.0.1:1", "--precision", "fp32"], "--precision is not"),
        (["RUN", "--engine", "http://127.0.0.1:1", "--memory", "off", "--port", "0"], "no answer"),
    ],
)
def test_mistakes_are_one_line(
    main: Call, finished: Path, arguments: list[str], message: str
) -> None:
    answer = main("serve", *(str(finished) if each == "RUN" else each for each in arguments))
    assert answer.code in (1, 2)
    assert answer.err.count("\n") == 1
    assert message in answer.err


def test_a_weak_token_is_refused(
    main: Call, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODELING_TOKEN", "short")
    answer = main("serve", finished)
    assert (answer.code, answer.out) == (2, "")
    assert "CODELING_TOKEN must have 16" in answer.err


def test_a_missing_extra_is_named(
    main: Call, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codeling.cli.extras.find_spec", lambda name: None)
    answer = main("serve", finished)
    assert answer.code == 2
    assert answer.err == ("codeling: starlette is not installed; pip install 'codeling[serve]'\n")


def message(body: dict[str, object]) -> bytes:
    data = json.dumps({"jsonrpc": "2.0", **body}).encode()
    return b"Content-Length: %d\r\n\r\n" % len(data) + data


def session() -> bytes:
    """What an editor sends up to its first request for ghost text."""
    document = {"uri": "file:///a.py", "languageId": "python", "version": 1, "text": "import os\n"}
    place: dict[str, object] = {"textDocument": {"uri": "file:///a.py"}}
    place |= {"position": {"line": 1, "character": 0}, "context": {"triggerKind": 1}}
    bodies: list[dict[str, object]] = [
        {"id": 1, "method": "initialize", "params": {"capabilities": {}}},
        {"method": "initialized", "params": {}},
        {"method": "textDocument/didOpen", "params": {"textDocument": document}},
        {"id": 2, "method": "textDocument/inlineCompletion", "params": place},
    ]
    return b"".join(map(message, bodies))


def test_the_language_server_answers_from_a_model_and_from_a_server(finished: Path) -> None:
    """Both give the same suggestion, and end with the session."""
    pytest.importorskip("pygls")
    command = [sys.executable, str(COMMAND)]
    with subprocess.Popen(
        [*command, "serve", str(finished), "--port", "0", "--json", "--aggressiveness", "eager"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as server:  # fmt: skip
        assert server.stdout is not None
        started = json.loads(server.stdout.readline())
        answers = []
        for arguments in (
            [str(finished), "--aggressiveness", "eager"],
            ["--connect", started["url"]],
        ):
            with subprocess.Popen(
                [*command, "lsp", *arguments],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                env={**os.environ, "CODELING_TOKEN": started["token"]},
            ) as process:  # fmt: skip
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write(session())
                process.stdin.flush()
                received = b""
                while not re.search(rb'"id": ?2', received):
                    received += os.read(process.stdout.fileno(), 65536)
                answers.append(json.loads(received[received.rindex(b"\r\n\r\n") :])["result"])
                process.stdin.write(message({"id": 3, "method": "shutdown"}))
                process.stdin.write(message({"method": "exit"}))
                process.stdin.flush()
                assert process.wait(20) == 0
        server.terminate()
    assert answers[0] == answers[1]
    assert list(answers[0]) == ["items"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "give either MODEL or --connect URL"),
        (["RUN", "--connect", "http://127.0.0.1:1"], "give either MODEL or --connect URL"),
        (["--connect", "127.0.0.1:1"], "is not an address like"),
        (["--connect", "http://127.0.0.1:1"], "no answer from a codeling server"),
        (["RUN", "--aggressiveness", "loud"], "--aggressiveness is one of quiet, normal, eager"),
    ],
)
def test_mistakes_of_the_language_server_are_one_line(
    main: Call, finished: Path, arguments: list[str], message: str
) -> None:
    pytest.importorskip("pygls")
    answer = main("lsp", *(str(finished) if each == "RUN" else each for each in arguments))
    assert answer.code in (1, 2)
    assert answer.err.count("\n") == 1
    assert message in answer.err
