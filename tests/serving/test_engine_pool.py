import threading
import time
from collections.abc import Iterator

import pytest

from codeling.generation.engine import Engine
from codeling.generation.request import Request, SamplingParams
from codeling.model.gpt2 import GPT2
from codeling.model.weights import save
from codeling.serving.engine_pool import EnginePool
from codeling.serving.engine_worker import WorkItem, WorkUpdate
from codeling.tokenizer.tokenizer import Tokenizer

PROMPTS = [f"def f{number}(x):\n    return " for number in range(12)]


class Ends:
    """Counts the items that have ended."""

    def __init__(self) -> None:
        self._ended = threading.Semaphore(0)

    def __call__(self, updates: list[WorkUpdate]) -> None:
        for update in updates:
            if update.done:
                self._ended.release()

    def wait(self, number: int) -> None:
        for _ in range(number):
            assert self._ended.acquire(timeout=20)


@pytest.fixture(scope="module")
def fast_engine(
    tmp_path_factory: pytest.TempPathFactory, served_model: GPT2, tokenizer: Tokenizer
) -> Engine:
    path = tmp_path_factory.mktemp("model")
    save(path, served_model, end_of_text_id=tokenizer.end_of_text)
    tokenizer.save(path / "tokenizer.json")
    return Engine.load(path, "cpu")


@pytest.fixture
def ends() -> Ends:
    return Ends()


@pytest.fixture
def pool(fast_engine: Engine, ends: Ends) -> Iterator[EnginePool]:
    pool = EnginePool(fast_engine, ends, 2)  # type: ignore[arg-type]
    pool.reserve(4, 8)
    pool.start()
    yield pool
    pool.stop()


def item(engine: Engine, prompt: str, affinity: str, max_new_tokens: int = 12) -> WorkItem:
    params = SamplingParams(max_new_tokens=max_new_tokens, temperature=1.0)
    sequence = engine.sequence(Request(prompt, params=params))
    return WorkItem(sequence, time.monotonic() + 60, only_end=True, affinity=affinity)


def test_texts_are_those_of_one_engine(pool: EnginePool, ends: Ends, fast_engine: Engine) -> None:
    items = [item(fast_engine, prompt, prompt) for prompt in PROMPTS]
    for each in items:
        pool.submit(each)
    ends.wait(len(items))
    alone = fast_engine.copy()
    for each, prompt in zip(items, PROMPTS, strict=True):
        expected = alone.complete(prompt, max_new_tokens=12, temperature=1.0).text
        assert each.sequence.output.text == expected
    assert len({id(each.worker) for each in items}) == 2


def test_a_user_stays_with_an_engine_until_it_is_much_busier(
    pool: EnginePool, ends: Ends, fast_engine: Engine
) -> None:
    endless = 100_000
    first = item(fast_engine, PROMPTS[0], "ann", endless)
    pool.submit(first)
    again = [item(fast_engine, PROMPTS[0] + "x", "ann", endless) for _ in range(7)]
    for each in again:
        pool.submit(each)
    assert {each.worker for each in again} == {first.worker}
    other = item(fast_engine, PROMPTS[1], "bob", endless)
    pool.submit(other)
    assert other.worker is not first.worker
    pool.cancel(other)
    ends.wait(1)
    moved = item(fast_engine, PROMPTS[0], "ann", endless)
    pool.submit(moved)
    assert moved.worker is other.worker
    for each in (first, *again, moved):
        pool.cancel(each)
    ends.wait(9)
    assert pool.num_waiting == 0
