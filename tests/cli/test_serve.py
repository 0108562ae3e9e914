import json
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
    ],
)
def test_mistakes_are_one_line(
    main: Call, finished: Path, arguments: list[str], message: str
) -> None:
    answer = main("serve", *(str(finished) if each == "RUN" else each for each in arguments))
    assert answer.code == 2
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
