"""Inputs of absurd size and type are shortened or refused before they cost time or memory."""

import time
from pathlib import Path
from typing import Any

import pytest

from codeling.errors import UsageError
from codeling.generation import prompts
from codeling.generation.engine import Engine
from codeling.model import weights
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2
from codeling.recipe import TokenizerRecipe
from codeling.tokenizer.train import train

CONTEXT = 32


@pytest.fixture(scope="module")
def engine() -> Engine:
    tokenizer = train([Path(__file__).read_text()], TokenizerRecipe(vocab_size=320, seed=0))
    network = GPT2(GPT2Config(320, CONTEXT, 1, 2, 16))
    network.initialize(0)
    return Engine.from_model(network, tokenizer)


LINES = "".join(f"x{number} = [{number}, 'é']\n" for number in range(200))
ONE_LINE = "a = 1; b = f(a); " * 200
DOCSTRING = "def f():\n    return 1\n" * 150 + 'def g():\n    """' + "word " * 100


@pytest.mark.parametrize("text", [LINES, ONE_LINE, DOCSTRING], ids=["lines", "one line", "string"])
@pytest.mark.parametrize("options", [{}, {"stop_at_block_end": True}], ids=str)
def test_a_longer_prompt_is_completed_as_its_end(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, text: str, options: dict[str, Any]
) -> None:
    """The end is whole lines where it has lines, and fills the context."""
    monkeypatch.setattr(prompts, "MAX_CHARACTERS", 1)
    limit = prompts._max_characters(engine.tokenizer, CONTEXT)
    assert len(text) > limit
    tail = text[-limit:]
    if "\n" in tail[: limit // 2]:
        tail = tail[tail.index("\n") + 1 :]
    ids = engine.prepare(text, None, 8).ids
    assert len(ids) >= CONTEXT
    assert ids == engine.prepare(tail, None, 8).ids
    whole = engine.tokenizer.encode(text)
    assert ids[-CONTEXT // 2 :] == whole[: len(whole)][-CONTEXT // 2 :] or text[-1] in " \n"
    for suffix in (None, "\nx = 1\n"):
        expected = engine.complete(tail, suffix, max_new_tokens=8, **options)
        assert engine.complete(text, suffix, max_new_tokens=8, **options) == expected


def test_a_longer_suffix_is_read_as_far_as_it_can_matter(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = engine.prepare("x = ", LINES, 8)
    monkeypatch.setattr(prompts, "MAX_CHARACTERS", 1)
    assert len(LINES) > prompts._max_characters(engine.tokenizer, CONTEXT)
    assert engine.prepare("x = ", LINES, 8) == expected


@pytest.mark.parametrize("text", ["a", "x = 1; ", "(", " ", "'", "\n"], ids=repr)
def test_ten_megabytes_are_completed_in_seconds(engine: Engine, text: str) -> None:
    begin = time.process_time()
    prompt = text * (10_000_000 // len(text))
    engine.complete(prompt, max_new_tokens=2, stop_at_block_end=True)
    assert time.process_time() - begin < 15


def test_more_samples_than_fit_memory_are_refused(engine: Engine) -> None:
    with pytest.raises(UsageError, match="n must be at most 10,000, not 1,000,000,000"):
        engine.complete_many("x", 10**9)


@pytest.mark.parametrize("prompts", ["x = 1", b"x"])
def test_one_string_is_no_list_of_prompts(engine: Engine, prompts: Any) -> None:
    with pytest.raises(UsageError, match="prompts must be a list of strings"):
        engine.complete_batch(prompts)
    with pytest.raises(UsageError, match="suffixes must be a list of strings"):
        engine.complete_batch(["a", "b"], "cd")


@pytest.mark.parametrize("device", ["tpu", "cuda:x", "", "CPU"])
def test_an_unknown_device_is_refused_in_one_line(
    engine: Engine, tmp_path: Path, device: str
) -> None:
    weights.save(tmp_path, engine.model, end_of_text_id=0)
    engine.tokenizer.save(tmp_path / "tokenizer.json")
    with pytest.raises(UsageError, match="write auto, cpu, cuda, cuda:N or mps"):
        Engine.load(tmp_path, device)
