import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from codeling.errors import InputError, UsageError
from codeling.serving.jupyter import model_server
from codeling.serving.jupyter.model_server import ModelServer


class Answering(BaseHTTPRequestHandler):
    """Answers with the token that it got, or refuses."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        token = self.headers["Authorization"]
        status, body = (
            (200, {"token": token}) if token else (401, {"error": {"message": "a token"}})
        )
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def script(folder: Path, text: str) -> list[str]:
    """A command in place of ``codeling``."""
    path = folder / "fake.py"
    path.write_text(text)
    return [sys.executable, str(path)]


def test_a_given_server_is_asked_with_its_token(url: str) -> None:
    assert ModelServer(url, "secret", "").post("/x", {}) == {"token": "Bearer secret"}
    with pytest.raises(InputError, match="refuses: a token"):
        ModelServer(url, "", "").post("/x", {})
    with pytest.raises(UsageError):
        ModelServer("no address", "", "")


def test_a_stopped_server_is_one_line() -> None:
    with pytest.raises(InputError, match="no answer from the codeling server"):
        ModelServer("http://127.0.0.1:9", "", "").post("/x", {})
    with pytest.raises(InputError, match="CODELING_MODEL=runs/demo"):
        ModelServer("", "", "").post("/x", {})


def test_a_server_is_started_once_and_ended(url: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = script(
        tmp_path,
        f"import json, sys, time\nopen({str(log)!r}, 'a').write(' '.join(sys.argv[1:]) + '\\n')\n"
        f"print(json.dumps({{'url': {url!r}, 'token': 'made'}}), flush=True)\ntime.sleep(60)\n",
    )
    server = ModelServer("", "", "runs/demo", command)
    for _ in range(2):
        assert server.post("/x", {}) == {"token": "Bearer made"}
    assert log.read_text() == "serve runs/demo --port 0 --json\n"
    process = server._process
    assert process is not None
    server.close()
    assert process.poll() is not None


def test_a_server_that_ends_is_started_again_later(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = script(tmp_path, "print('no')\n")
    server = ModelServer("", "", "runs/demo", command)
    with pytest.raises(InputError, match="codeling serve runs/demo did not start"):
        server.post("/x", {})
    with pytest.raises(InputError, match="is started again in a moment"):
        server.post("/x", {})
    monkeypatch.setattr(model_server, "_RETRY_SECONDS", 0.0)
    with pytest.raises(InputError, match="did not start"):
        server.post("/x", {})
    server.close()
