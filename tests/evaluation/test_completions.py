"""Completions of several threads are those of one."""

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from codeling.evaluation import completions
from codeling.evaluation.completions import complete_requests, divide
from codeling.generation.engine import Engine
from codeling.generation.request import Completion, Request, SamplingParams
from codeling.generation.runners.conversion import convert
from codeling.generation.runners.fast import FastRunner
from codeling.model.config import GPT2Config
from codeling.progress import SILENT, Progress
from codeling.tokenizer.tokenizer import Tokenizer

from ..generation.engines import random_model, tensors_of


@pytest.fixture
def engine(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine on the fast runner, on a machine with three cores."""
    monkeypatch.setattr(completions, "usable_cores", lambda: 3)
    model = random_model(GPT2Config(tokenizer.vocab_size, 64, 2, 2, 32))
    return Engine(FastRunner(convert(model.config, tensors_of(model))), tokenizer)


def requests(count: int) -> list[Request]:
    """Five prompts in turn, each with several samples, every second one greedy."""
    return [
        Request(
            "x = 1\n" * (number % 5),
            "y\n" if number % 5 == 1 else None,
            SamplingParams(temperature=number % 2, max_new_tokens=5 + number),
            number // 5,
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("count", [0, 1, 2, 17])
def test_several_threads_equal_one(engine: Engine, count: int) -> None:
    expected = engine.copy().complete_requests(requests(count))
    assert complete_requests(engine, requests(count), 4) == expected


@pytest.mark.parametrize("num_shares", [1, 2, 3, 9])
def test_the_samples_of_a_prompt_stay_together(num_shares: int) -> None:
    asked = requests(17)
    shares = divide(asked, num_shares)
    assert len(shares) == min(num_shares, 5)
    assert sorted(number for share in shares for number in share) == list(range(17))
    prompts = [{asked[number].prompt for number in share} for share in shares]
    assert sum(map(len, prompts)) == 5


class Failing(Engine):
    """An engine whose copies decode until they are stopped; it fails itself."""

    num_running = threading.Semaphore(0)
    num_stopped = 0

    def complete_requests(
        self, requests: Sequence[Request], batch_size: int = 32, progress: Progress = SILENT
    ) -> list[Completion]:
        if isinstance(self, Endless):
            Failing.num_running.release()
            try:
                with progress.task("decode") as advance:
                    while True:
                        advance(0)
            finally:
                Failing.num_stopped += 1
        for _ in range(2):  # both copies are decoding
            assert Failing.num_running.acquire(timeout=20)
        raise KeyboardInterrupt

    def copy(self) -> Engine:
        return Endless(self.runner.copy(), self.tokenizer)


class Endless(Failing):
    """A copy."""


def test_an_interruption_stops_all_threads(engine: Engine) -> None:
    with pytest.raises(KeyboardInterrupt):
        complete_requests(Failing(engine.runner, engine.tokenizer), requests(9), 4)
    assert Failing.num_stopped == 2


def test_an_error_in_a_thread_is_raised(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Engine, *arguments: Any) -> list[Completion]:
        raise ValueError("broken thread")

    copy = engine.copy()
    monkeypatch.setattr(copy, "complete_requests", broken.__get__(copy))
    monkeypatch.setattr(engine, "copy", lambda: copy)
    with pytest.raises(ValueError, match="broken thread"):
        complete_requests(engine, requests(9), 4)
