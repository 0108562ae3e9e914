"""Bits per byte of any texts: equal to scoring all at once, on a sample from the seed."""

import math
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from codeling.errors import InputError
from codeling.evaluation.intrinsic import bits_per_byte
from codeling.evaluation.journal import Journal
from codeling.evaluation.suites.bits_per_byte import measure
from codeling.generation.engine import Engine
from codeling.generation.scoring import scorer_of
from codeling.memory.gating.parameters import load_parameters
from codeling.memory.mixture import MemoryMixture
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2
from codeling.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Place:
    text: str
    path: str
    repository: str = "r"
    start_line: int = 1


@pytest.fixture
def engine(tokenizer: Tokenizer) -> Engine:
    model = GPT2(GPT2Config(tokenizer.vocab_size, 32, 1, 2, 16))
    model.initialize(1)
    return Engine.from_model(model, tokenizer)


def test_the_sum_over_documents_is_the_total(engine: Engine, tmp_path: Path) -> None:
    texts = [Place(f"value_{n} = {n}\n" * (n % 7 + 1) + "é" * n, f"{n}.py") for n in range(80)]
    result = measure(engine, texts, Journal(tmp_path / "j", "1"), max_bytes=10**9)
    whole = bits_per_byte(scorer_of(engine), engine.tokenizer, [place.text for place in texts])
    assert result["num_problems"] == 80
    assert result["num_bytes"] == whole.num_bytes
    assert math.isclose(result["scores"][0]["value"], whole.value, rel_tol=1e-5)
    by_name = {record["task_id"]: record for record in result["problems"]}
    for place, nats in zip(texts, whole.document_nats, strict=True):
        assert math.isclose(by_name[f"r: {place.path}:1"]["nats"], nats, rel_tol=1e-5)


def test_at_most_max_bytes_are_scored_and_no_character_is_split(
    engine: Engine, tmp_path: Path
) -> None:
    texts = [Place("é" * 100, f"{n}.py") for n in range(10)]
    for number, (limit, scored) in enumerate([(401, 400), (1, 0), (4000, 2000)]):
        journal = Journal(tmp_path / f"{number}" / "j", "1")
        if scored:
            result = measure(engine, texts, journal, max_bytes=limit)
            assert result["num_bytes"] == scored
        else:
            with pytest.raises(InputError, match="no text to measure on"):
                measure(engine, texts, journal, max_bytes=limit)


def test_with_a_memory_the_text_is_scored_by_its_mixture_too(
    engine: Engine, tmp_path: Path
) -> None:
    text = "def area(width):\n    return width * width\n\n\ndef area(width):\n    return width * wi"
    short = Place(text[:40], "short.py")  # fits the context: one pass of the model
    memory = MemoryMixture(load_parameters(), engine.tokenizer.token_bytes)
    engine.memory = memory
    result = measure(
        engine, [Place(text, "long.py"), short], Journal(tmp_path / "j", "1"), max_bytes=10**9
    )
    scores = {score["name"]: score["value"] for score in result["scores"]}
    assert list(scores) == [
        "bits per byte",
        "bits per byte with memory",
        "bits per byte of the memory alone",
    ]
    assert scores["bits per byte with memory"] < scores["bits per byte"]
    ids = [engine.tokenizer.end_of_text, *engine.tokenizer.encode(short.text)]
    with torch.inference_mode():
        logits = engine.model(torch.tensor([ids[:-1]]))[0].numpy()
    state = memory.open(ids[:1])
    nats = 0.0
    for row, token in zip(logits, ids[1:], strict=True):
        state.mix(row)
        nats -= float(row[token])
        state.observe(token)
    by_name = {record["task_id"]: record for record in result["problems"]}
    assert math.isclose(by_name["r: short.py:1"]["nats_with_memory"], nats, rel_tol=1e-3)
