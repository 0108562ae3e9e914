"""Batches packed ahead by another process are those that this one would pack."""

import os
import signal
from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest

from codeling.dataset.infilling import Infilling
from codeling.dataset.loader import Loader, Position
from codeling.errors import CorpusError, TrainingError
from codeling.training.prefetcher import Feed
from codeling.training.trainer import Inputs


@pytest.fixture
def loader(inputs: Inputs) -> Loader:
    return Loader(inputs.train, inputs.tokenizer, 32, 1, Infilling(0.5, 0.5, 1))


@pytest.fixture
def ahead(loader: Loader) -> Iterator[Feed]:
    feed = Feed(loader, loader.start(), 5, ahead=True)
    yield feed
    feed.close()


def process(feed: Feed) -> int:
    assert feed._ahead is not None
    assert feed._ahead._process.pid is not None
    return feed._ahead._process.pid


def test_packed_ahead_or_not_the_batches_are_the_same(loader: Loader, ahead: Feed) -> None:
    plain = Feed(loader, loader.start(), 5, ahead=False)
    for _ in range(500):  # into the second window
        expected, got = plain.take(), ahead.take()
        assert (got.rows == expected.rows).all()
        assert got.position == expected.position
    again = Feed(loader, got.position, 5, ahead=True)
    assert (again.take().rows == plain.take().rows).all()
    again.close()


def test_who_is_asked_to_stop_still_gets_batches(ahead: Feed) -> None:
    # A terminal and a cluster signal all processes; what is under way may need a batch more.
    ahead.take()
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(process(ahead), number)
    assert ahead.take().rows.shape == (5, 33)


def test_a_killed_process_is_said_and_a_closed_one_is_gone(loader: Loader, ahead: Feed) -> None:
    ahead.take()
    os.kill(process(ahead), signal.SIGKILL)
    with pytest.raises(TrainingError, match="the same command goes on from the last checkpoint"):
        list(islice(iter(ahead.take, None), 10_000))
    other = Feed(loader, loader.start(), 5, ahead=True)
    other.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process(other), 0)


def test_an_error_of_packing_is_raised_here(
    loader: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows(position: Position) -> Iterator[tuple[object, Position]]:
        yield np.zeros(33, dtype=np.int64), position
        raise CorpusError("the disk is gone")

    monkeypatch.setattr(loader, "shuffled_sequences", rows)
    feed = Feed(loader, loader.start(), 1, ahead=True)
    feed.take()
    with pytest.raises(CorpusError, match="the disk is gone"):
        feed.take()
    feed.close()
