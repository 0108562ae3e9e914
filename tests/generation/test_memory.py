"""The engine's laws hold with a memory, and constraints hold for what it proposes."""

from itertools import zip_longest
from typing import Any

import pytest

from codeling.generation.engine import Engine
from codeling.generation.request import Request
from codeling.memory.gating.parameters import load_parameters
from codeling.memory.mixture import MemoryMixture

from .engines import fresh_runner

PROMPTS = [
    "",
    "def f(x):\n    return ",
    "x = 1\n" * 40,
    "class A:\n    def first(self):\n        return self.name\n\n    def sec",
]
SETTINGS: list[dict[str, Any]] = [
    {},
    {"temperature": 1.0, "seed": 3},
    {"temperature": 0.8, "top_k": 20, "stop": ["e", "\n"], "stop_at_block_end": True},
    {"max_repeats": 0},
]


@pytest.fixture(params=["kept", "new"])
def engine_with_memory(engine: Engine, request: pytest.FixtureRequest) -> Engine:
    """With documents kept from one request to the next, or a new memory for each test."""
    made = Engine(fresh_runner(engine), engine.tokenizer, lambda: engine.model)
    made.memory = MemoryMixture(load_parameters(), engine.tokenizer.token_bytes)
    if request.param == "kept":
        made.complete_batch(PROMPTS, max_new_tokens=5)
    return made


@pytest.mark.parametrize("options", SETTINGS, ids=str)
def test_batched_and_streamed_equal_alone(
    engine_with_memory: Engine, options: dict[str, Any]
) -> None:
    engine = engine_with_memory
    suffixes = [None, "\n    return x\n", None, None]
    together = engine.complete_batch(PROMPTS, suffixes, n=2, max_new_tokens=30, **options)
    for prompt, suffix, samples in zip(PROMPTS, suffixes, together, strict=True):
        alone = engine.complete_many(prompt, 2, suffix, max_new_tokens=30, **options)
        assert samples == alone
        streamed = engine.stream(prompt, suffix, max_new_tokens=30, **options)
        assert "".join(streamed) == samples[0].text


def test_interleaved_streams_share_no_text(engine_with_memory: Engine) -> None:
    engine = engine_with_memory
    streams = [engine.stream(PROMPTS[3], max_new_tokens=20, temperature=t) for t in (0, 1.0, 2.0)]
    texts = [""] * len(streams)
    for pieces in zip_longest(*streams, fillvalue=""):
        texts = [text + piece for text, piece in zip(texts, pieces, strict=True)]
    assert texts == [
        engine.complete(PROMPTS[3], max_new_tokens=20, temperature=t).text for t in (0, 1.0, 2.0)
    ]


@pytest.mark.parametrize("suffix", [None, "\n    return x\n"])
def test_a_healed_document_and_the_text_that_is_rewritten_are_the_prompt(
    engine_with_memory: Engine, suffix: str | None
) -> None:
    engine, text = engine_with_memory, PROMPTS[3] * 3
    num_healed = 0
    for end in range(len(text)):
        sequence = engine.sequence(Request(text[:end], suffix))
        before, after = sequence.document
        assert before[0] == engine.tokenizer.end_of_text
        healed = engine.tokenizer.decode_bytes(before) + sequence.healed
        assert healed == text[:end].encode()
        assert engine.tokenizer.decode(after) == (suffix or "")
        num_healed += bool(sequence.healed)
    assert num_healed > 10


def test_text_above_is_completed_and_its_place_is_named(engine_with_memory: Engine) -> None:
    above = "import os\n\n\ndef first(path):\n    return os.path.normpath(path)\n\n\n"
    prompt = f"{above}def first(path):\n    return os.pa"  # the end is healed
    completion = engine_with_memory.complete(prompt, max_new_tokens=12, record_sources=True)
    assert completion.text.startswith("th.normpath(path)\n")
    span = completion.sources[0]
    assert span.source == "document"
    assert span.start_line == 5
    assert "normpath(path)" in span.text
    unrecorded = engine_with_memory.complete(prompt, max_new_tokens=12)
    assert unrecorded.sources == ()
    assert unrecorded.text == completion.text


def test_repeats_are_limited_though_the_memory_proposes_more(engine_with_memory: Engine) -> None:
    prompt = "x = compute(a, b, c)\n" * 8
    line = prompt.splitlines(keepends=True)[0]
    free = engine_with_memory.complete(prompt, max_new_tokens=100, max_repeats=0).text
    limited = engine_with_memory.complete(prompt, max_new_tokens=100, max_repeats=2).text
    assert free.count(line) > 3
    assert limited.count(line) <= 2
