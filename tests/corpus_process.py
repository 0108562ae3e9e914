"""One forked process for the tasks of many corpus builds: starting one takes longer than a build.

A build after one that failed within a task gets a new process, as does one in another folder or
with other environment variables. ``tests/corpus/build/test_executor.py`` tests how the process is
started and ended.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from codeling.corpus.build import child, pipeline
from codeling.corpus.build.executor import Executor
from codeling.corpus.sources import listing

from .forking import Fork


class ForkedChild(Fork):
    """The executor's child, with its pipes."""

    def __init__(self, environment: dict[str, str], errors: int) -> None:
        requests, to_child = os.pipe()
        from_child, answers = os.pipe()
        super().__init__(
            answer_requests, Path.cwd(), environment,
            errors=errors, pipes=(requests, answers), new_session=True,
        )  # fmt: skip
        os.close(requests)
        os.close(answers)
        self.stdin, self.stdout = os.fdopen(to_child, "wb"), os.fdopen(from_child, "rb")

    @property
    def returncode(self) -> int | None:
        return self.poll()


def answer_requests(folder: Path, environment: dict[str, str]) -> None:
    """Run the executor's child in this process."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for name in [*sys.modules]:
        if name.startswith("huggingface_hub"):  # reads the environment when imported
            del sys.modules[name]
    child.name_shared_memory()
    child.main()


class ForkedExecutor(Executor):
    """An executor whose child is forked instead of started."""

    def _open(self, environment: dict[str, str]) -> Any:
        if not hasattr(os, "fork"):
            return super()._open(environment)
        return ForkedChild(environment, self._errors.fileno())


class SharedExecutor(ForkedExecutor):
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
            patch.setattr(listing, "Executor", lambda: shared)
            yield
    finally:
        shared.restart()
