import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from codeling.serving.watching.watch_server import watch_application

TOKEN = "a-token-of-sixteen-and-more"
HOSTILE = "<script>alert(1)</script>\u202e\n\ndata: {}"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "metrics.jsonl").write_text('{"kind": "step", "step": 1}\n')
    sample = {"step": 1, "prompt": HOSTILE, "completion": HOSTILE}
    (tmp_path / "samples.jsonl").write_text(json.dumps(sample) + "\n")
    return tmp_path


def test_the_page_is_public_and_the_run_is_not(run: Path) -> None:
    client = TestClient(watch_application(run, TOKEN), base_url="http://127.0.0.1:8013")
    for path in ("/", "/watch.js", "/watch.css", "/style.css"):
        answer = client.get(path)
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
    assert "<script>" not in client.get("/").text  # no inline script
    assert client.get("/events").status_code == 401
    assert client.get("/events", headers={"Authorization": "Bearer x"}).status_code == 401
    headers = {"Authorization": f"Bearer {TOKEN}", "Host": "evil.example"}
    assert client.get("/events", headers=headers).status_code == 403
    assert (
        client.get("/recipe.toml", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 404
    )


async def received(app: Any, num_events: int, after_first: Any = lambda: None) -> list[Any]:
    """The first events of a stream, whose client then leaves."""
    events: list[Any] = []
    left = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        for frame in message.get("body", b"").decode().split("\n\n")[:-1]:
            events.append(json.loads(frame.removeprefix("data: ")))
            if len(events) == 1:
                after_first()
        if len(events) >= num_events:
            left.set()

    scope = {
        "type": "http", "method": "GET", "path": "/events", "raw_path": b"/events",
        "query_string": b"", "root_path": "", "http_version": "1.1", "scheme": "http",
        "headers": [(b"host", b"localhost"), (b"authorization", f"Bearer {TOKEN}".encode())],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    await asyncio.wait_for(app(scope, receive, send), 20)
    return events


def test_the_stream_has_the_past_the_state_and_what_is_new(run: Path) -> None:
    def grow() -> None:
        with (run / "metrics.jsonl").open("a") as file:
            file.write('{"kind": "step", "step": 2}\n')

    history, sample, state, points = asyncio.run(received(watch_application(run, TOKEN), 4, grow))
    assert [each["step"] for each in history["lines"]] == [1]
    assert sample == {"kind": "sample", "step": 1, "prompt": HOSTILE, "completion": HOSTILE}
    assert state["age_seconds"] >= 0
    assert points == {"kind": "points", "lines": [{"kind": "step", "step": 2}]}
