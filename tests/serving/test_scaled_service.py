"""Several processes answer as one does, and the end of one loses no answer."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from codeling.export.hugging_face import write_model_folder
from codeling.model.gpt2 import GPT2
from codeling.serving import scaled_service
from codeling.serving.engine_loading import load_engine, prepared
from codeling.serving.protocol.query import Answer, Choice, Prompt, Query, RequestError, SentFile
from codeling.serving.scaled_service import START_AT, ScaledService
from codeling.serving.service import Service
from codeling.serving.settings import ServerLimits
from codeling.tokenizer.tokenizer import Tokenizer

LIMITS = ServerLimits(request_seconds=30.0, max_new_tokens=10_000)
ENDLESS = Query((Prompt("x = 1\n"),), max_new_tokens=10_000, session="ann")
QUERIES = [
    Query((Prompt("def f(x):\n    return "),), max_new_tokens=12),
    Query((Prompt("a = "), Prompt("b = ")), n=2, max_new_tokens=8, seed=3, num_logprobs=2),
    Query((Prompt("import os\nos.", "\nprint(1)\n"),), max_new_tokens=8, with_details=True,
          files=(SentFile("a.py", "import os\nos.path.join(a, b)\n"),)),
    Query((Prompt("def f(x):\n"),), max_new_tokens=20, stream=True, temperature=0.9, stop=("a",)),
    Query((Prompt("x = 1\n"),), max_new_tokens=0, echo=True, num_logprobs=1),
]  # fmt: skip
_Result = TypeVar("_Result")
Run = Callable[[Coroutine[Any, Any, _Result]], _Result]


def timeless(answer: Answer) -> list[Choice]:
    return [
        replace(choice, num_reused=0, prompt_seconds=0.0, predict_seconds=0.0)
        for choice in answer.choices
    ]


def wait_until(is_true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not is_true():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture(scope="module")
def run() -> Iterator[Run[Any]]:
    """Runs a coroutine in the event loop of the services."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield lambda coroutine: asyncio.run_coroutine_threadsafe(coroutine, loop).result(60)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(scope="module")
def folder(
    served_model: GPT2, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("scaled") / "model"
    write_model_folder(path, served_model, tokenizer, "# A card\n")
    return path


async def _start(service: Service) -> None:
    service.start()


def make(folder: Path, run: Run[Any], load: Any = None) -> ScaledService:
    local = partial(load_engine, str(folder), "cpu")
    service = ScaledService(prepared(local), LIMITS, 0.0, load or local, 2)
    run(_start(service))
    return service


async def ask_several(service: Service) -> list[Answer]:
    several = (service.complete(QUERIES[0], str(number)) for number in range(START_AT))
    return await asyncio.gather(*several)


@pytest.fixture(scope="module")
def scaled(folder: Path, run: Run[Any]) -> Iterator[ScaledService]:
    """A service with two processes that are ready."""
    service = make(folder, run)
    run(service.complete(QUERIES[0], "ann"))
    assert service.processes == []
    run(ask_several(service))
    wait_until(lambda: len(ready(service)) == 2)
    yield service
    pids = [process.pid for process in service.processes]
    service.stop()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def ready(service: ScaledService) -> list[int]:
    return [process.pid for process in service.processes if process.is_ready]


@pytest.mark.parametrize("number", range(len(QUERIES)))
def test_answers_are_those_of_one_process(
    number: int, scaled: ScaledService, folder: Path, run: Run[Any]
) -> None:
    alone = Service(prepared(partial(load_engine, str(folder), "cpu")), LIMITS)
    run(_start(alone))
    query = QUERIES[number]

    async def events(service: Service) -> list[Any]:
        return [event async for event in service.stream(query, "ann")]

    expected, found = run(events(alone)), run(events(scaled))
    alone.stop()
    assert timeless(found[-1]) == timeless(expected[-1])
    if query.stream:
        texts = [
            "".join(event.text for event in each if not isinstance(event, Choice | Answer))
            for each in (found, expected)
        ]
        assert texts[0] == texts[1]


def test_people_share_the_processes_and_stay(scaled: ScaledService, run: Run[Any]) -> None:
    async def homes() -> list[int]:
        queries = [
            replace(ENDLESS, session=name, max_new_tokens=9_000 + number)
            for number, name in enumerate(("bob", "cid", "bob"))
        ]
        tasks = [asyncio.create_task(scaled.complete(query, "host")) for query in queries]
        await asyncio.sleep(0.2)
        found = [len(process.sizes) for process in scaled.processes]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return found

    assert sorted(run(homes())) == [1, 1]  # the second query of bob's ended his first


def test_the_next_query_of_a_session_ends_the_former(scaled: ScaledService, run: Run[Any]) -> None:
    async def both() -> tuple[Answer, Answer]:
        first = asyncio.create_task(scaled.complete(ENDLESS, "host"))
        await asyncio.sleep(0.3)
        second = await scaled.complete(replace(ENDLESS, max_new_tokens=4), "host")
        return await asyncio.wait_for(first, 0.5), second

    first, second = run(both())
    assert 0 < first.choices[0].num_new < 10_000
    assert second.choices[0].num_new == 4


def test_a_client_that_leaves_ends_its_work(scaled: ScaledService, run: Run[Any]) -> None:
    async def leave() -> None:
        task = asyncio.create_task(scaled.complete(replace(ENDLESS, session=None), "gone"))
        await asyncio.sleep(0.2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(leave())
    assert scaled.num_in_flight == 0
    assert not any(process.sizes for process in scaled.processes)
    began = time.monotonic()
    run(scaled.complete(QUERIES[0], "gone"))
    assert time.monotonic() - began < 5


def test_a_bad_query_gets_its_status(scaled: ScaledService, run: Run[Any]) -> None:
    with pytest.raises(RequestError, match="id 999999 is not one of") as caught:
        run(scaled.complete(Query((Prompt("", None, (999_999,)),)), "ann"))
    assert caught.value.status == 400


def test_a_killed_process_loses_no_answer_and_is_replaced(
    scaled: ScaledService, run: Run[Any], capfd: pytest.CaptureFixture[str]
) -> None:
    query = replace(ENDLESS, max_new_tokens=200, seed=1, session="dan")
    expected = timeless(run(scaled.complete(query, "host")))
    before = ready(scaled)

    async def ask_and_kill() -> Answer:
        task = asyncio.create_task(scaled.complete(query, "host"))
        while not (busy := [each for each in scaled.processes if each.sizes]):
            await asyncio.sleep(0)
        os.kill(busy[0].pid, signal.SIGKILL)
        return await task

    assert timeless(run(ask_and_kill())) == expected
    wait_until(lambda: len(ready(scaled)) == 2)
    assert len({*before, *ready(scaled)}) == 3
    assert "ended (exit code -9); another one is started in 0 s" in capfd.readouterr().err


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="there is no SIGSTOP")
def test_a_process_without_a_heartbeat_is_replaced_and_no_other(
    scaled: ScaledService, run: Run[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scaled_service, "_MAX_MISSED", 5)
    query = replace(ENDLESS, max_new_tokens=8, session="eve")
    wait_until(lambda: len(ready(scaled)) == 2)
    expected = timeless(run(scaled.complete(query, "host")))
    hung = scaled._homes["host eve"].pid
    (other,) = {*ready(scaled)} - {hung}
    os.kill(hung, signal.SIGSTOP)
    assert timeless(run(scaled.complete(query, "host"))) == expected
    wait_until(lambda: len(ready(scaled)) == 2)
    assert other in ready(scaled)
    assert hung not in ready(scaled)


def test_people_who_type_in_turn_share_the_processes(scaled: ScaledService, run: Run[Any]) -> None:
    for name in range(6):
        run(scaled.complete(replace(QUERIES[0], session=f"person {name}"), "host"))
    homes = [scaled._homes[f"host person {name}"] for name in range(6)]
    assert {homes.count(process) for process in scaled.processes} == {3}


def test_a_query_under_which_processes_end_is_given_up(
    scaled: ScaledService, run: Run[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: object) -> AsyncIterator[Answer]:
        for event in list[Answer]():
            yield event

    monkeypatch.setattr(scaled, "_forwarded", nothing)
    with pytest.raises(RequestError, match="the process that answered this request ended"):
        run(scaled.complete(QUERIES[0], "ann"))


@pytest.mark.parametrize(
    "load, message",
    [
        (
            partial(load_engine, "nowhere"),
            "ended (exit code 1); another one is started in 1 s",
        ),
        (lambda: None, "no more processes can be started"),
    ],
)
def test_without_processes_one_answers(
    load: Any, message: str, folder: Path, run: Run[Any], capfd: pytest.CaptureFixture[str]
) -> None:
    service = make(folder, run, load)
    service._num_processes = 1
    answers = run(ask_several(service))
    found = ""

    def is_said() -> bool:
        nonlocal found
        found += capfd.readouterr().err
        return message in found

    wait_until(is_said)
    assert service.processes == []
    assert timeless(run(service.complete(QUERIES[0], "ann"))) == timeless(answers[0])
    service.stop()
