"""Shared by the tests of suites: an engine with given answers, a judge for the tests' own programs,
and a sandbox."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from codeling.errors import SandboxError
from codeling.evaluation.data.datafiles import DataFile
from codeling.evaluation.data.problems import ProblemSet, read_problems
from codeling.evaluation.sandbox import Job, Limits, Sandbox, Verdict
from codeling.generation.engine import Engine
from codeling.generation.request import Completion, Request, SamplingParams
from codeling.generation.runners.torch import TorchRunner
from codeling.generation.text.decoding import CompletionText
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2
from codeling.progress import SILENT, Progress
from codeling.tokenizer.tokenizer import Tokenizer

PROBLEMS = Path(__file__).with_name("problems.jsonl")
AnswerFunction = Callable[[str, str | None, int], str]
"""(prompt, suffix, number of the sample) → the text a model would write if nothing stopped it."""


@dataclass(frozen=True)
class Source:
    """A document of a training corpus, as the provenance index reads it."""

    text: str
    path: str
    repository: str = "stdlib"
    license: str = "PSF-2.0"
    url: str = ""
    start_line: int = 1


class Scripted(Engine):
    """An engine with given text, cut where the real engine would cut it."""

    def __init__(self, answer: AnswerFunction, tokenizer: Tokenizer) -> None:
        model = GPT2(GPT2Config(tokenizer.vocab_size, 16, 1, 1, 8))
        super().__init__(TorchRunner(model), tokenizer, lambda: model)
        self.answer = answer
        self.prompts: list[str] = []
        self.samples: list[int] = []

    def complete_requests(
        self, requests: Sequence[Request], batch_size: int = 32, progress: Progress = SILENT
    ) -> list[Completion]:
        self.prompts += dict.fromkeys(request.prompt for request in requests)
        self.samples += [request.sample for request in requests]
        number: Counter[Request] = Counter()
        done = []
        for each in requests:
            key = replace(each, sample=0)
            done.append(self._one(each.prompt, each.suffix, number[key], each.params))
            number[key] += 1
        return done

    def _one(
        self, prompt: str, suffix: str | None, number: int, settings: SamplingParams
    ) -> Completion:
        ends = tuple(settings.script_ends)
        output = CompletionText(prompt, settings.stops, settings.stop_at_block_end, ends)
        output.feed(self.answer(prompt, suffix, number).encode())
        if output.finish_reason is None:
            output.finish("end_of_text")
        assert output.finish_reason is not None
        return Completion(output.text, (), output.finish_reason)


class InProcess:
    """A judge that runs programs in this process: only for programs written in these tests."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def judge(self, jobs: Iterable[Job]) -> Iterator[Verdict]:
        for job in jobs:
            self.jobs.append(job)
            namespace: dict[str, object] = {}
            try:
                exec(job.program, namespace)
                if job.entry_point:
                    namespace["candidate"] = namespace[job.entry_point]
                exec(job.check, namespace)
            except Exception as error:
                yield Verdict(job.identifier, "failed", f"{type(error).__name__}: {error}")
            else:
                yield Verdict(job.identifier, "passed", "")


@pytest.fixture
def scripted(tokenizer: Tokenizer) -> Callable[[AnswerFunction], Scripted]:
    return lambda answer: Scripted(answer, tokenizer)


@pytest.fixture
def judge() -> InProcess:
    return InProcess()


@pytest.fixture
def own_problems() -> ProblemSet:
    """Three problems: a function, one with a helper before it, and a script."""
    return read_problems([DataFile(PROBLEMS, PROBLEMS.name)])


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """Two warm sandboxes with short limits; wall-clock time has slack for a busy machine."""
    limits = Limits(cpu_seconds=1, wall_seconds=8, tmp_bytes=8 << 20, file_bytes=4 << 20)
    try:
        opened = Sandbox(workers=2, limits=limits).__enter__()
    except SandboxError as error:
        pytest.skip(str(error))
    yield opened
    opened.close()
