"""Drafts change nothing but the number of steps."""

from typing import Any

import pytest

from codeling.generation.engine import Engine
from codeling.generation.request import Request, SamplingParams
from codeling.generation.runners.fast import FastRunner
from codeling.memory.gating.parameters import load_parameters
from codeling.memory.mixture import MemoryMixture

from .engines import fresh_runner
from .test_memory import PROMPTS

SUFFIXES = [None, None, None, "\n    return self.name\n"]
TEXTS = [*zip(PROMPTS, SUFFIXES, strict=True), ("import os\nimport sy" * 3, None)]
SETTINGS: list[dict[str, Any]] = [
    {"max_repeats": 0},
    {"max_repeats": 2, "num_logprobs": 3},
    {"temperature": 0.7, "seed": 3, "top_p": 0.9},
    {"stop": ["e"], "stop_at_block_end": True},
    {"min_probability": 0.05, "max_repeats": 0},
    {"record_sources": True},
]


class WithoutDrafts(FastRunner):
    max_drafts = 0


def results(engine: Engine, options: dict[str, Any]) -> tuple[list[Any], int]:
    """All that a request can ask for, one after the other, and the number of steps."""
    options = dict(options)
    num_logprobs = options.pop("num_logprobs", None)
    found: list[Any] = []
    num_steps = 0
    for prompt, suffix in TEXTS:
        params = SamplingParams(max_new_tokens=30, **options)
        sequence = engine.add(Request(prompt, suffix, params, num_logprobs=num_logprobs))
        text = ""
        while sequence.finish_reason is None:
            engine.step()
            num_steps += 1
            text += sequence.new_text()
        assert text == sequence.completion().text
        found.append((sequence.completion(), sequence.logprobs, sequence.probabilities))
    return found, num_steps


@pytest.mark.parametrize("options", SETTINGS, ids=str)
def test_drafts_change_nothing_but_the_number_of_steps(
    engine: Engine, options: dict[str, Any]
) -> None:
    runner = fresh_runner(engine)
    if not isinstance(runner, FastRunner):
        assert runner.max_drafts == 0
        return
    answers, steps = [], []
    for each in (runner, WithoutDrafts(runner.weights)):
        other = Engine(each, engine.tokenizer)
        other.memory = MemoryMixture(load_parameters(), engine.tokenizer.token_bytes)
        found, num_steps = results(other, options)
        answers.append(found)
        steps.append(num_steps)
    assert answers[0] == answers[1]
    if options == {"max_repeats": 0}:
        assert steps[0] < steps[1]
