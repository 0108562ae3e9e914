"""Complete many prompts with all cores.

On a CPU a row's result does not depend on its neighbours, so the prompts are divided among threads,
and the completions are those of a single thread. The threads share the weights; each has an engine
with slots of its own. The kernels run without Python's lock. Other devices are used by one thread.
This module must not know what is measured.
"""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from codeling.cores import usable_cores
from codeling.generation.engine import Engine
from codeling.generation.request import Completion, Request
from codeling.generation.runners.fast import FastRunner
from codeling.progress import SILENT, Advance


def complete_requests(
    engine: Engine, requests: Sequence[Request], batch_size: int
) -> list[Completion]:
    """Return one completion per request, at most ``batch_size`` at the same time in all threads.

    Raises like :meth:`Engine.complete_requests`.
    """
    shares = divide(requests, usable_cores() if isinstance(engine.runner, FastRunner) else 1)
    batch_size = -(-batch_size // max(1, len(shares)))
    stop = _Stop()
    done: dict[int, Completion] = {}
    with ThreadPoolExecutor(max(1, len(shares))) as threads:
        # Ctrl-C arrives in this thread, so it completes a share itself and stops the others.
        others = [
            threads.submit(
                engine.copy().complete_requests, [requests[i] for i in share], batch_size, stop
            )
            for share in shares[1:]
        ]
        try:
            for share in shares[:1]:
                own = engine.complete_requests([requests[i] for i in share], batch_size, stop)
                done |= zip(share, own, strict=True)
            for share, other in zip(shares[1:], others, strict=True):
                done |= zip(share, other.result(), strict=True)
        except BaseException:
            stop.requested.set()
            raise
    return [done[number] for number in range(len(requests))]


def divide(requests: Sequence[Request], num_shares: int) -> list[list[int]]:
    """Indices of ``requests`` in at most ``num_shares`` lists of about the same work.

    Requests with the same prompt stay together, because it is read once.
    """
    by_prompt: dict[tuple[str, str | None], list[int]] = {}
    for number, request in enumerate(requests):
        by_prompt.setdefault((request.prompt, request.suffix), []).append(number)
    groups = sorted(by_prompt.values(), key=lambda group: -len(requests[group[0]].prompt))
    dealt = [groups[first::num_shares] for first in range(num_shares)]
    return [[number for group in share for number in group] for share in dealt if share]


class _Stop:
    """A progress that ends the work of a thread at its next step."""

    def __init__(self) -> None:
        self.requested = threading.Event()

    @contextmanager
    def task(self, label: str, total: int | None = None, unit: str = "items") -> Iterator[Advance]:
        yield self._advance

    def note(self, line: str) -> None:
        SILENT.note(line)

    def _advance(self, amount: int, detail: str = "", total: int | None = None) -> None:
        if self.requested.is_set():
            raise _StoppedThreadError


class _StoppedThreadError(Exception):
    """Its result is not wanted any more."""
