"""The share of generated function bodies that parse and contain code.

The prompt is the signature and docstring of a held-out function; the completion ends where the
block does. A completion counts when prompt and completion together go through ``ast.parse`` and
the body has a statement that does something: noise inside a string literal parses too. Completions
that ran out of ``max_new_tokens`` are cut after their last whole logical line.

Where there are few functions, each is completed several times. Completions of one function are not
independent, so the interval is a bootstrap over functions (a cluster bootstrap).
"""

import itertools
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from codeling.evaluation.completions import complete_requests
from codeling.evaluation.data.document_sample import LocatedText, shuffled
from codeling.evaluation.metrics.pass_at_k import ratio
from codeling.evaluation.syntax import Outcome, body_outcome, function_prompt
from codeling.generation.engine import Engine
from codeling.generation.request import Request, SamplingKwargs, SamplingParams
from codeling.generation.text.blocks import cut_unfinished
from codeling.progress import SILENT, Progress

if TYPE_CHECKING:
    from typing_extensions import Unpack

MAX_PROMPT_BYTES = 512
"""Functions with longer prompts are left out, so that models with a short context get the same
functions as the others, and see all of the prompt."""
_BATCH_SIZE = 32


@dataclass(frozen=True)
class BodySample:
    """One completed function body."""

    repository: str
    path: str
    start_line: int
    prompt: str
    completion: str
    """As it was parsed: cut after its last whole logical line where tokens ran out."""
    finish_reason: str
    outcome: Outcome

    @property
    def location(self) -> tuple[str, str, int]:
        """Key of the function."""
        return self.repository, self.path, self.start_line


@dataclass(frozen=True)
class ParseRate:
    """Completed bodies and their outcomes."""

    samples: tuple[BodySample, ...] = field(repr=False)

    def count(self, outcome: Outcome) -> int:
        """Number of samples with ``outcome``."""
        return sum(sample.outcome == outcome for sample in self.samples)

    @property
    def num_functions(self) -> int:
        """Number of distinct functions."""
        return len({sample.location for sample in self.samples})

    @property
    def value(self) -> float:
        """Share of all samples with outcome ``parsed``, 0 to 1."""
        return self.count("parsed") / len(self.samples)

    def interval(self, seed: int) -> tuple[float, float] | None:
        """95 % interval of :attr:`value`, bootstrapped over functions; None for one function."""
        num_samples = Counter(sample.location for sample in self.samples)
        parsed = (sample.location for sample in self.samples if sample.outcome == "parsed")
        num_parsed = Counter(parsed)
        score = ratio(
            [num_parsed[location] for location in num_samples], list(num_samples.values()), seed
        )
        return score.interval_95 if score else None


def parse_rate(
    engine: Engine,
    functions: Iterable[LocatedText],
    *,
    completions: int,
    progress: Progress = SILENT,
    **options: "Unpack[SamplingKwargs]",
) -> ParseRate:
    """Complete the bodies of held-out ``functions`` and classify them.

    ``options`` go to the engine; their ``seed`` also draws the functions. Functions whose prompt is
    longer than :data:`MAX_PROMPT_BYTES` are left out. With fewer functions than ``completions``,
    each is completed several times; without any there are no samples.
    """
    params = SamplingParams(**(options | {"stop_at_block_end": True}))
    prompted = ((each, function_prompt(each.text)) for each in shuffled(functions, params.seed))
    usable = (
        (function, prompt)
        for function, prompt in prompted
        if prompt and len(prompt.encode()) <= MAX_PROMPT_BYTES
    )
    selected = list(itertools.islice(usable, completions))
    if not selected:
        return ParseRate(())
    per_function = math.ceil(completions / len(selected))
    samples: list[BodySample] = []
    with progress.task("parse rate", total=completions, unit="completions") as advance:
        for start in range(0, len(selected), _BATCH_SIZE):
            batch = selected[start : start + _BATCH_SIZE]
            requests = [
                Request(prompt, None, params, number)
                for _, prompt in batch
                for number in range(per_function)
            ]
            answers = iter(complete_requests(engine, requests, _BATCH_SIZE))
            for function, prompt in batch:
                of_prompt = [next(answers) for _ in range(per_function)]
                for answer in of_prompt[: completions - len(samples)]:
                    text = answer.text
                    if answer.finish_reason == "length":
                        text = cut_unfinished(prompt, text)
                    samples.append(
                        BodySample(
                            repository=function.repository,
                            path=function.path,
                            start_line=function.start_line,
                            prompt=prompt,
                            completion=text,
                            finish_reason=answer.finish_reason,
                            outcome=body_outcome(prompt, text),
                        )
                    )
                    advance(1)
    return ParseRate(tuple(samples))
