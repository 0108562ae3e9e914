import threading
import time
from collections.abc import Iterator

import pytest

from codeling.generation.engine import Engine
from codeling.generation.request import Request, SamplingParams
from codeling.serving.engine_worker import EngineWorker, WorkItem, WorkUpdate

PROMPT = "def f(x):\n"


class Collected:
    """Updates of a worker, and a wait for the end of an item."""

    def __init__(self) -> None:
        self.updates: list[WorkUpdate] = []
        self._changed = threading.Condition()

    def __call__(self, updates: list[WorkUpdate]) -> None:
        with self._changed:
            self.updates += updates
            self._changed.notify_all()

    def last(self, item: WorkItem) -> WorkUpdate:
        def ended() -> bool:
            return any(update.item is item and update.done for update in self.updates)

        with self._changed:
            assert self._changed.wait_for(ended, timeout=20)
        return next(update for update in self.updates if update.item is item and update.done)

    def text(self, item: WorkItem) -> str:
        return "".join(update.text for update in self.updates if update.item is item)


@pytest.fixture
def collected() -> Collected:
    return Collected()


@pytest.fixture
def worker(engine: Engine, collected: Collected) -> Iterator[EngineWorker]:
    worker = EngineWorker(engine, collected)  # type: ignore[arg-type]
    worker.start()
    yield worker
    worker.stop()


def item(engine: Engine, seconds: float = 60, **options: object) -> WorkItem:
    params = SamplingParams(temperature=1.0, **options)  # type: ignore[arg-type]
    sequence = engine.sequence(Request(PROMPT, params=params))
    return WorkItem(sequence, time.monotonic() + seconds)


def test_pieces_add_up_to_the_text_of_the_engine(
    worker: EngineWorker, collected: Collected, engine: Engine
) -> None:
    items = [item(engine, seed=seed, max_new_tokens=20) for seed in range(5)]
    for each in items:
        worker.submit(each)
    for seed, each in enumerate(items):
        collected.last(each)
        alone = Engine(type(engine.runner)(engine.model), engine.tokenizer)  # type: ignore[call-arg]
        expected = alone.complete(PROMPT, temperature=1.0, seed=seed, max_new_tokens=20)
        assert collected.text(each) == each.sequence.output.text == expected.text
        assert each.first_token is not None
        assert each.submitted <= each.first_token <= (each.ended or 0)


def test_an_item_may_report_its_end_alone(
    worker: EngineWorker, collected: Collected, engine: Engine
) -> None:
    quiet = item(engine, max_new_tokens=8)
    quiet.only_end = True
    worker.submit(quiet)
    collected.last(quiet)
    mine = [each.done for each in collected.updates if each.item is quiet]
    assert mine == [True]
    assert collected.text(quiet) == quiet.sequence.output.text


def test_a_cancelled_item_ends_soon_with_its_text_so_far(
    worker: EngineWorker, collected: Collected, engine: Engine
) -> None:
    endless = item(engine, max_new_tokens=1_000_000)
    worker.submit(endless)
    while not collected.text(endless):
        time.sleep(0.001)
    began = time.monotonic()
    worker.cancel(endless)
    last = collected.last(endless)
    assert time.monotonic() - began < 0.05
    assert last.item.sequence.finish_reason == "length"
    assert collected.text(endless) == endless.sequence.output.text
    assert engine.scheduler.running == {}
    worker.cancel(endless)  # again: nothing happens


def test_an_item_that_was_not_started_can_be_cancelled(
    worker: EngineWorker, collected: Collected, engine: Engine
) -> None:
    engine.scheduler.grow(1)
    items = [item(engine, max_new_tokens=1_000_000) for _ in range(40)]
    for each in items:
        worker.submit(each)
    for each in items:
        worker.cancel(each)
    for each in items:
        collected.last(each)
    assert engine.scheduler.waiting == []


def test_a_deadline_ends_an_item_with_its_text_so_far(
    worker: EngineWorker, collected: Collected, engine: Engine
) -> None:
    late = item(engine, seconds=0.1, max_new_tokens=1_000_000)
    worker.submit(late)
    collected.last(late)
    assert 0 <= (late.ended or 0) - late.deadline < 0.5
    assert collected.text(late)


def test_the_time_to_predict_counts_only_after_a_line_end(
    worker: EngineWorker, collected: Collected, engine: Engine
) -> None:
    """llama.cpp's ``t_max_predict_ms``."""
    quick = item(engine, seconds=20, max_new_tokens=1_000_000)
    quick.max_predict_seconds = 0.001
    within_a_line = item(engine, max_new_tokens=200, stop="\n")
    within_a_line.max_predict_seconds = 0.001
    for each in (quick, within_a_line):
        worker.submit(each)
        collected.last(each)
    assert "\n" in collected.text(quick)
    assert (quick.ended or 0) < quick.deadline
    assert within_a_line.sequence.finish_reason in ("stop", "length", "end_of_text")
    assert "\n" not in collected.text(within_a_line)


def test_a_bug_ends_all_items_and_the_worker_continues(
    worker: EngineWorker, collected: Collected, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(type(engine.runner), "run", None)
        broken = [item(engine, max_new_tokens=5) for _ in range(2)]
        for each in broken:
            worker.submit(each)
        assert all(isinstance(collected.last(each).error, TypeError) for each in broken)
    fine = item(engine, max_new_tokens=5)
    worker.submit(fine)
    assert collected.last(fine).error is None


def test_stopping_ends_items_with_their_text_so_far(engine: Engine, collected: Collected) -> None:
    worker = EngineWorker(engine, collected)  # type: ignore[arg-type]
    worker.start()
    endless = item(engine, max_new_tokens=1_000_000)
    worker.submit(endless)
    while not collected.text(endless):
        time.sleep(0.001)
    worker.stop()
    assert collected.last(endless).error is None
