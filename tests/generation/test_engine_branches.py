"""Other first tokens of a prompt are followed as if each had been picked alone.

Only the fast runner is tried, whose logits do not depend on the batch to the last bit.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from codeling.generation.engine import Engine
from codeling.generation.request import Request, SamplingParams
from codeling.generation.sequence import Sequence

from .engines import PROMPTS, fresh_runner

PARAMS = SamplingParams(
    max_new_tokens=7, min_probability=0.0, num_branches=3, branch_probability=0.0
)
CASES = [(prompt, suffix) for prompt in PROMPTS for suffix in (None, "\n")]


pytestmark = pytest.mark.parametrize("engine", ["fast", "fast int8"], indirect=True)


def followed(engine: Engine, *requests: Request) -> list[Sequence]:
    sequences = [engine.add(request) for request in requests]
    while any(sequence.finish_reason is None for sequence in sequences):
        engine.step()
    return sequences


def first_is(engine: Engine, token: int) -> Engine:
    """The same engine, which picks ``token`` first."""
    runner = fresh_runner(engine)
    run = type(runner).run
    calls: list[None] = []

    def preferring(batch: Any) -> NDArray[np.float32]:
        logits = run(runner, batch)
        if len(logits):
            if not calls:
                logits[:, token] = 1e4
            calls.append(None)
        return logits

    runner.run = preferring  # type: ignore[method-assign]
    return Engine(runner, engine.tokenizer)


@pytest.mark.parametrize(("prompt", "suffix"), CASES)
def test_a_branch_is_the_completion_after_its_first_token(
    engine: Engine, prompt: str, suffix: str | None
) -> None:
    request = Request(prompt, suffix, PARAMS)
    (root,) = followed(engine, request)
    plain = SamplingParams(max_new_tokens=7, min_probability=0.0)
    (alone,) = followed(engine, Request(prompt, suffix, plain))
    assert root.completion() == alone.completion()
    assert (root.ids, root.probabilities) == (alone.ids, alone.probabilities)
    assert not alone.branches
    firsts = [each.ids[each.num_prompt] for each in (root, *root.branches) if each.num_new]
    assert len(set(firsts)) == len(firsts)
    assert 1 <= len(root.branches) <= 2
    for branch in root.branches:
        assert branch.probabilities[0] <= root.probabilities[0]
        if branch.num_new:
            token = branch.ids[branch.num_prompt]
            (forced,) = followed(first_is(engine, token), Request(prompt, suffix, plain))
            assert branch.completion() == forced.completion()
            assert branch.ids == forced.ids


def test_branches_do_not_depend_on_other_requests(engine: Engine) -> None:
    requests = [Request(prompt, suffix, PARAMS) for prompt, suffix in CASES]
    together = followed(engine, *requests)
    for request, sequence in zip(requests, together, strict=True):
        (alone,) = followed(Engine(fresh_runner(engine), engine.tokenizer), request)
        assert [each.ids for each in (sequence, *sequence.branches)] == [
            each.ids for each in (alone, *alone.branches)
        ]


def test_the_probabilities_of_branches_and_root_are_shares_of_one(engine: Engine) -> None:
    params = replace(PARAMS, max_new_tokens=1, num_branches=engine.runner.vocab_size)
    (root,) = followed(engine, Request("x = ", None, params))
    total = sum(each.probabilities[0] for each in (root, *root.branches))
    assert total == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("num_steps", [1, 2, 4])
def test_a_sequence_is_aborted_and_ended_with_its_branches(engine: Engine, num_steps: int) -> None:
    root = engine.add(Request("import os\n", None, PARAMS))
    for _ in range(num_steps):
        assert engine.step() == [root]
    assert root.branches
    root.finish("length")
    assert root.finish_reason is not None
    assert all(branch.has_ended for branch in root.branches)
    engine.abort(root)
    assert not engine.scheduler.running
    assert not engine.scheduler.waiting
    assert engine.step() == []


def test_only_likely_first_tokens_are_followed(engine: Engine) -> None:
    (root,) = followed(engine, Request("x = ", None, PARAMS))
    first, second = (branch.probabilities[0] for branch in root.branches)
    for probability, number in ((second, 2), (first, 1), (1.0, 0)):
        params = replace(PARAMS, branch_probability=probability)
        (found,) = followed(engine, Request("x = ", None, params))
        assert len(found.branches) == number
