"""The routes below HTTP: clients that leave, full queues, limits, and bugs."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from codeling.generation.engine import Engine
from codeling.generation.sequence import Sequence
from codeling.serving.engine_worker import EngineWorker, WorkItem
from codeling.serving.http.server import application
from codeling.serving.settings import ServerLimits, ServerSettings

ENDLESS = {"n_predict": 1_000_000, "temperature": 1.0}


class Connection:
    """One request to an ASGI application, whose client can leave."""

    def __init__(self, app: Any, path: str, body: bytes | None, method: str = "POST") -> None:
        self._app = app
        self._scope = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(),
            "query_string": b"", "headers": [(b"host", b"127.0.0.1")], "root_path": "",
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "http_version": "1.1",
            "scheme": "http", "asgi": {"version": "3.0", "spec_version": "2.3"},
        }  # fmt: skip
        self._body = body
        self._left = asyncio.Event()
        self.status = 0
        self.headers: dict[str, str] = {}
        self.data = b""
        self.answered = asyncio.Event()
        self.task = asyncio.ensure_future(app(self._scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {key.decode(): value.decode() for key, value in message["headers"]}
        else:
            self.data += message["body"]
        self.answered.set()

    def leave(self) -> None:
        self._left.set()

    async def json(self) -> Any:
        await self.task
        return json.loads(self.data)


def running(
    engine: Engine, limits: ServerLimits, scenario: Callable[[Any], Awaitable[None]]
) -> None:
    """Run ``scenario`` with an application in its lifespan."""

    async def main() -> None:
        app: Any = application(engine, ServerSettings(limits=limits, threshold=0.0))
        events: asyncio.Queue[str] = asyncio.Queue()
        started, stopped = asyncio.Event(), asyncio.Event()

        async def receive() -> dict[str, Any]:
            return {"type": await events.get()}

        async def send(message: dict[str, Any]) -> None:
            (started if "startup" in message["type"] else stopped).set()

        lifespan = asyncio.ensure_future(app({"type": "lifespan", "state": {}}, receive, send))
        await events.put("lifespan.startup")
        await started.wait()
        try:
            await asyncio.wait_for(scenario(app), 60)
        finally:
            await events.put("lifespan.shutdown")
            await lifespan

    asyncio.run(main())


def post(app: Any, path: str, body: Any) -> Connection:
    return Connection(app, path, json.dumps(body).encode())


@pytest.fixture
def endless(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine whose model never ends a text."""
    run = engine.runner.run

    def without_end(batch: Any) -> Any:
        logits = run(batch)
        logits[:, engine.tokenizer.end_of_text] = -1e9
        return logits

    monkeypatch.setattr(engine.runner, "run", without_end)
    return engine


class Steps:
    """Counts the engine's steps up to each cancelling and each end: time depends on the machine."""

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.number = 0
        self.at_cancel: list[int] = []
        self.at_end: list[int] = []
        step, cancel, abort = engine.step, EngineWorker.cancel, engine.abort

        def counted_step() -> list[Sequence]:
            self.number += 1
            return step()

        def noted_cancel(worker: EngineWorker, item: WorkItem) -> None:
            cancel(worker, item)
            self.at_cancel.append(self.number)

        def noted_abort(sequence: Sequence) -> None:
            self.at_end.append(self.number)
            abort(sequence)

        monkeypatch.setattr(engine, "step", counted_step)
        monkeypatch.setattr(engine, "abort", noted_abort)
        monkeypatch.setattr(EngineWorker, "cancel", noted_cancel)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    "path, body",
    [
        ("/completion", {"prompt": "x", **ENDLESS}),
        ("/completion", {"prompt": "x", "stream": True, **ENDLESS}),
        ("/api/generate", {"prompt": "x", "options": {"num_predict": 1000, "temperature": 1.0}}),
    ],
)
def test_a_client_that_leaves_ends_its_work_before_the_next_step(
    endless: Engine, path: str, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, steps = endless, Steps(endless, monkeypatch)

    async def scenario(app: Any) -> None:
        connection = post(app, path, body)
        await until(lambda: bool(engine.scheduler.running))
        assert not steps.at_cancel
        connection.leave()
        for _ in range(20):  # turns of the event loop
            await asyncio.sleep(0)
        assert steps.at_cancel
        await until(lambda: not engine.scheduler.running)
        assert steps.at_end[0] - steps.at_cancel[0] <= 1
        await asyncio.wait({connection.task})

    running(engine, ServerLimits(max_new_tokens=1_000_000), scenario)


def test_the_next_request_of_a_slot_ends_the_one_in_progress(
    endless: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, steps = endless, Steps(endless, monkeypatch)

    async def scenario(app: Any) -> None:
        first = post(app, "/completion", {"prompt": "x = ", "id_slot": 0, **ENDLESS})
        other = post(app, "/completion", {"prompt": "z = ", "id_slot": 1, **ENDLESS})
        await until(lambda: len(engine.scheduler.running) == 2)
        assert not steps.at_cancel
        second = post(app, "/infill", {"input_prefix": "x = y", "id_slot": 0, "n_predict": 3})
        answer = await first.json()
        assert steps.at_end[0] - steps.at_cancel[0] <= 1
        assert first.status == 200
        assert answer["stop_type"] == "limit"
        assert not other.task.done()
        assert (await second.json())["tokens_predicted"] <= 3
        warm_up = post(app, "/infill", {"input_prefix": "z = 1", "id_slot": 1, "n_predict": 0})
        assert (await warm_up.json())["content"] == ""
        other.leave()
        await asyncio.wait({other.task})

    running(engine, ServerLimits(max_new_tokens=1_000_000), scenario)


def test_three_equal_streams_at_once_are_three_samples(engine: Engine) -> None:
    """minuet-ai.nvim sends its request three times."""
    body: dict[str, Any] = {
        "prompt": "def f(x):\n    return ",
        "suffix": "\nf(1)\n",
        "max_tokens": 12,
    }
    body |= {"stream": True, "model": "codeling"}

    def text(connection: Connection) -> str:
        blocks = connection.data.decode().split("\n\n")
        events = [json.loads(block[6:]) for block in blocks if block and "[DONE]" not in block]
        return "".join(event["choices"][0]["text"] for event in events)

    async def scenario(app: Any) -> None:
        same = [post(app, "/v1/completions", body) for _ in range(3)]
        await asyncio.wait({each.task for each in same})
        whole = await post(app, "/v1/completions", {**body, "stream": False, "n": 3}).json()
        texts = [choice["text"] for choice in whole["choices"]]
        assert [text(each) for each in same] == texts
        assert len(set(texts)) == 3
        again = post(app, "/v1/completions", body)
        await again.task
        assert text(again) == texts[0]

    running(engine, ServerLimits(), scenario)


def test_a_full_server_refuses_and_says_when_to_ask_again(endless: Engine) -> None:
    engine = endless

    async def scenario(app: Any) -> None:
        busy = [post(app, "/completion", {"prompt": f"{n}", **ENDLESS}) for n in range(4)]
        await until(lambda: len(engine.scheduler.running) == 4)
        refused = post(app, "/completion", {"prompt": "x"})
        error = (await refused.json())["error"]
        assert refused.status == 429
        assert refused.headers["retry-after"] == "1"
        assert "4 completions in progress" in error["message"]
        for each in busy:
            each.leave()
        await asyncio.wait({each.task for each in busy})
        accepted = post(app, "/completion", {"prompt": "x", "n_predict": 1})
        await accepted.task
        assert accepted.status == 200

    running(engine, ServerLimits(max_in_flight=4, max_new_tokens=1_000_000), scenario)


def test_the_servers_deadline_gives_the_text_so_far(endless: Engine) -> None:
    engine = endless

    async def scenario(app: Any) -> None:
        began = time.monotonic()
        answer = await post(app, "/completion", {"prompt": "x", **ENDLESS}).json()
        assert 0.2 <= time.monotonic() - began < 1.0
        assert answer["content"]
        assert answer["stop_type"] == "limit"

    running(engine, ServerLimits(request_seconds=0.2, max_new_tokens=1_000_000), scenario)


def test_a_request_that_never_starts_gets_an_error(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(app: Any) -> None:
        monkeypatch.setattr(engine, "step", list)
        late = post(app, "/completion", {"prompt": "x", "n_predict": 1})
        error = (await late.json())["error"]
        assert late.status == 503
        assert "did not get to this request" in error["message"]

    running(engine, ServerLimits(request_seconds=0.05), scenario)


def test_a_body_that_is_too_large_or_too_slow_is_refused(engine: Engine) -> None:
    async def scenario(app: Any) -> None:
        large = Connection(app, "/completion", b" " * 101)
        assert "above 100 bytes" in (await large.json())["error"]["message"]
        assert large.status == 413
        slow = Connection(app, "/completion", None)
        assert "did not arrive" in (await slow.json())["error"]["message"]
        assert slow.status == 408

    running(engine, ServerLimits(max_body_bytes=100, body_seconds=0.05), scenario)


def test_a_bug_is_status_500_without_details_and_the_server_continues(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario(app: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(type(engine.runner), "run", None)
            broken = post(app, "/completion", {"prompt": "x"})
            error = (await broken.json())["error"]
        assert broken.status == 500
        assert error["message"] == "a bug in codeling; its log has the details"
        fine = post(app, "/completion", {"prompt": "x", "n_predict": 1})
        await fine.task
        assert fine.status == 200

    running(engine, ServerLimits(), scenario)
    assert "TypeError" in capsys.readouterr().err
