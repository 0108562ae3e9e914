"""One process for the tasks of many corpus builds: starting it takes longer than a small build.

A build after one that failed within a task gets a new process, as does one in another folder or
with other environment variables. ``tests/corpus/build/test_executor.py`` tests how the process is
started and ended.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from codeling.corpus.build import pipeline
from codeling.corpus.build.executor import Executor


class SharedExecutor(Executor):
    """Keeps its process between builds."""

    _state: object = None
    _is_working = False

    def __enter__(self) -> "SharedExecutor":
        ignored = "PYTEST_CURRENT_TEST"
        variables = {name: value for name, value in os.environ.items() if name != ignored}
        if self._state != (state := (Path.cwd(), variables)):
            self.restart()
        self._state = state
        return self

    def __exit__(self, *exception: object) -> None:
        if self._is_working:
            self.restart()

    def restart(self) -> None:
        super().restart()
        self._is_working = False

    def map(self, *arguments: Any, **options: Any) -> Iterator[str]:
        self._is_working = True
        yield from super().map(*arguments, **options)
        self._is_working = False


@contextmanager
def shared_corpus_process() -> Iterator[None]:
    """Within this context, builds on this machine share one process."""
    shared = SharedExecutor()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pipeline, "Executor", lambda ray=None: Executor(ray) if ray else shared)
            yield
    finally:
        shared.restart()
