"""A completion is the same alone, in a batch and as a stream."""

from collections.abc import Callable
from itertools import zip_longest
from typing import Any

import pytest

from codeling.generation.engine import Engine
from codeling.generation.request import Completion

from .engines import CONTEXT, PROMPTS

SETTINGS: list[dict[str, Any]] = [
    {},
    {"temperature": 1.0, "seed": 3},
    {"temperature": 0.8, "top_k": 20, "top_p": 0.9, "stop": ["e", "\n"]},
    {"temperature": 2.0, "stop_at_block_end": True},
    {"temperature": 0.5, "prose_temperature": 2.0, "stop_at_block_end": True},
    {"max_repeats": 0},
    {"max_repeats": 1},
]


Alone = Callable[[str, str | None, dict[str, Any]], Completion]


@pytest.fixture(scope="module")
def alone(engine: Engine) -> Alone:
    """Completes a prompt once for each suffix and options."""
    done: dict[str, Completion] = {}

    def complete(prompt: str, suffix: str | None, options: dict[str, Any]) -> Completion:
        key = repr((prompt, suffix, options))
        if key not in done:
            done[key] = engine.complete(prompt, suffix, max_new_tokens=CONTEXT + 4, **options)
        return done[key]

    return complete


@pytest.mark.parametrize(
    "options, batch_size", [*((options, 4) for options in SETTINGS), (SETTINGS[1], 100)], ids=str
)
def test_batched_equals_alone(
    engine: Engine, alone: Alone, options: dict[str, Any], batch_size: int
) -> None:
    suffixes = [None, "\n", None, None, "é", None]
    together = engine.complete_batch(
        PROMPTS, suffixes, n=2, batch_size=batch_size, max_new_tokens=CONTEXT + 4, **options
    )
    for prompt, suffix, samples in zip(PROMPTS, suffixes, together, strict=True):
        many = engine.complete_many(prompt, 2, suffix, max_new_tokens=CONTEXT + 4, **options)
        assert samples == many
        assert samples[0] == alone(prompt, suffix, options)


@pytest.mark.parametrize("options", SETTINGS, ids=str)
@pytest.mark.parametrize("prompt", PROMPTS)
def test_streamed_equals_completed(
    engine: Engine, alone: Alone, options: dict[str, Any], prompt: str
) -> None:
    pieces = list(engine.stream(prompt, max_new_tokens=CONTEXT + 4, **options))
    assert "".join(pieces) == alone(prompt, None, options).text
    assert all(pieces)


def test_interleaved_streams_give_all_their_text(engine: Engine) -> None:
    streams = [engine.stream(prompt, max_new_tokens=20 + i) for i, prompt in enumerate(PROMPTS)]
    texts = [""] * len(streams)
    for pieces in zip_longest(*streams, fillvalue=""):
        texts = [text + piece for text, piece in zip(texts, pieces, strict=True)]
    assert texts == [
        engine.complete(prompt, max_new_tokens=20 + i).text for i, prompt in enumerate(PROMPTS)
    ]


def test_samples_differ_from_each_other_and_by_seed(engine: Engine) -> None:
    first = engine.complete_many("x", 4, temperature=1.0, max_new_tokens=20)
    second = engine.complete_many("x", 4, temperature=1.0, max_new_tokens=20, seed=1)
    assert len({sample.ids for sample in first + second}) == 8


def test_no_prompts_give_no_completions(engine: Engine) -> None:
    assert engine.complete_batch([]) == []
