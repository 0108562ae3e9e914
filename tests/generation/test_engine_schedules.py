"""Any schedule of requests gives each of them its completion alone, on every runner."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeling.generation.engine import Engine
from codeling.generation.request import Completion, Request, SamplingParams
from codeling.generation.sequence import Sequence

from .engines import fresh_runner

PARAMS = (
    SamplingParams(max_new_tokens=40, max_repeats=0),
    SamplingParams(max_new_tokens=12, temperature=1.5, seed=3),
    SamplingParams(max_new_tokens=6, temperature=1.0, top_k=9, top_p=0.9, stop="e"),
)
TEXTS = (
    ("", None),
    ("import os\nimport sy", None),
    ("import os\nimport sys\n", None),
    ("x = 1\n" * 12, None),
    ("import os\n", "import sys\n"),
    ("import os\nx", "import sys\n"),
)
REQUESTS = [
    Request(prompt, suffix, params, sample)
    for (prompt, suffix), params, sample in product(TEXTS, PARAMS, (0, 1))
]
"""Prompts that begin alike, longer than the context, with a suffix; several samples of each."""

Action = tuple[str, int]
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, len(REQUESTS) - 1)),
        st.tuples(st.just("abort"), st.integers(0, 20)),
        st.tuples(st.just("step"), st.integers(1, 9)),
    ),
    max_size=25,
)


@pytest.fixture(scope="module")
def alone(engine: Engine) -> list[Completion]:
    """Each request's completion by an engine that has read nothing else."""
    return [
        Engine(fresh_runner(engine), engine.tokenizer).complete_requests([request])[0]
        for request in REQUESTS
    ]


@settings(max_examples=60)
@given(ACTIONS)
def test_a_request_gets_its_completion_in_any_schedule(
    engine: Engine, alone: list[Completion], actions: list[Action]
) -> None:
    """Batched, admitted late, forked, after a rollback, beside sequences that are aborted.

    The slots keep the tokens of the examples before.
    """
    added: list[tuple[int, Sequence]] = []
    pieces: dict[Sequence, str] = {}

    def step() -> None:
        engine.step()
        for _, sequence in added:
            pieces[sequence] = pieces.get(sequence, "") + sequence.new_text()

    for kind, number in actions:
        if kind == "add":
            added.append((number, engine.add(REQUESTS[number])))
        elif kind == "abort" and added:
            engine.abort(added[number % len(added)][1])
        elif kind == "step":
            for _ in range(number):
                step()
    while engine.scheduler.running or engine.scheduler.waiting:
        step()
    for number, sequence in added:
        expected = alone[number]
        if sequence.finish_reason is not None:
            assert sequence.completion() == expected
            assert pieces[sequence] == expected.text
        else:  # aborted
            assert list(expected.ids)[: sequence.num_new] == sequence.ids[sequence.num_prompt :]
            assert expected.text.startswith(pieces.get(sequence, ""))
