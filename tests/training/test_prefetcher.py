"""Batches packed ahead by another process are those that this one would pack.

A spawned process spends most of its time on imports, so all tests but one fork it from a server.
"""

import multiprocessing
import os
import pickle
import signal
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from multiprocessing import forkserver
from multiprocessing.context import BaseContext

import pytest

from codeling.dataset.infilling import Infilling
from codeling.dataset.loader import Loader
from codeling.errors import TrainingError
from codeling.training.data import TrainingData
from codeling.training.prefetcher import Prefetcher


@pytest.fixture
def loader(inputs: TrainingData) -> Loader:
    return Loader(inputs.train, inputs.tokenizer, 32, 1, Infilling(0.5, 0.5, 1))


@pytest.fixture(scope="module")
def server() -> Iterator[BaseContext]:
    """The server of multiprocessing that forks processes, with the imports that they need."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["codeling.training.prefetcher"])
    yield context
    # Waits for it, so that its processor time counts.
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


@pytest.fixture
def forked(server: BaseContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocessing, "get_context", lambda method: server)


@pytest.fixture
def ahead(loader: Loader, forked: None) -> Iterator[Prefetcher]:
    prefetcher = Prefetcher(loader, loader.start(), 5, in_process=False)
    yield prefetcher
    prefetcher.close()


def process(prefetcher: Prefetcher) -> int:
    assert prefetcher._worker is not None
    assert prefetcher._worker._process.pid is not None
    return prefetcher._worker._process.pid


def test_batches_are_the_same_with_and_without_prefetching(
    loader: Loader, ahead: Prefetcher
) -> None:
    plain = Prefetcher(loader, loader.start(), 5, in_process=True)
    for _ in range(500):  # into the second window
        expected, got = plain.next_batch(), ahead.next_batch()
        assert (got.sequences == expected.sequences).all()
        assert got.position == expected.position
    again = Prefetcher(loader, got.position, 5, in_process=False)
    assert (again.next_batch().sequences == plain.next_batch().sequences).all()
    again.close()


def test_batches_arrive_after_a_stop_signal(ahead: Prefetcher) -> None:
    # A terminal and a cluster signal all processes; what is under way may need a batch more.
    ahead.next_batch()
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(process(ahead), number)
    assert ahead.next_batch().sequences.shape == (5, 33)


def test_a_killed_process_is_an_error_and_a_closed_one_is_gone(
    loader: Loader, ahead: Prefetcher
) -> None:
    ahead.next_batch()
    os.kill(process(ahead), signal.SIGKILL)
    with pytest.raises(TrainingError, match="the same command continues from the last checkpoint"):
        list(islice(iter(ahead.next_batch, None), 10_000))
    other = Prefetcher(loader, loader.start(), 5, in_process=False)
    other.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process(other), 0)


def test_an_error_of_packing_is_raised_here(loader: Loader, forked: None) -> None:
    nowhere = replace(loader.start(), chunk=10**9)
    prefetcher = Prefetcher(loader, nowhere, 1, in_process=False)
    with pytest.raises(IndexError):
        prefetcher.next_batch()
    prefetcher.close()


def test_the_process_is_not_forked_from_one_with_threads(loader: Loader) -> None:
    """A forked child of a process with threads may hang; Windows has no fork at all."""
    prefetcher = Prefetcher(loader, loader.start(), 5, in_process=False)
    assert prefetcher._worker is not None
    assert type(prefetcher._worker._process).__name__ == "SpawnProcess"
    plain = Prefetcher(loader, loader.start(), 5, in_process=True)
    assert (prefetcher.next_batch().sequences == plain.next_batch().sequences).all()
    prefetcher.close()


def test_data_for_another_process_is_a_path_and_not_a_copy(
    inputs: TrainingData, loader: Loader
) -> None:
    assert len(pickle.dumps(inputs.train)) < 500
    again = pickle.loads(pickle.dumps(loader))
    for (one, _), (other, _) in zip(
        islice(again.shuffled_sequences(again.start()), 20),
        loader.shuffled_sequences(loader.start()),
        strict=False,
    ):
        assert (one == other).all()
