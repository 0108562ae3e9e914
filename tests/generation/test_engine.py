"""Completions equal full passes of the model, and end where they should."""

from typing import Any

import pytest

from codeling.generation.cycles import SHORT
from codeling.generation.engine import Engine
from codeling.generation.runners import Runner
from codeling.generation.scheduler import Batch
from codeling.generation.text.blocks import cut_at_block_end

from .engines import CONTEXT, PROMPTS, fresh_runner, greedy_by_full_passes, preferring


@pytest.mark.parametrize("prompt", PROMPTS)
def test_cached_decoding_equals_full_passes_past_the_context_end(
    engine: Engine, prompt: str
) -> None:
    completion = engine.complete(prompt, max_new_tokens=3 * CONTEXT, max_repeats=0)
    assert list(completion.ids) == greedy_by_full_passes(engine, prompt, None, 3 * CONTEXT)
    assert completion.finish_reason in ("length", "end_of_text")


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("suffix", ["", "\n    return x\n", "y = 2\n" * 40])
def test_infilling_equals_full_passes_and_ends_at_the_context_end(
    engine: Engine, prompt: str, suffix: str
) -> None:
    completion = engine.complete(prompt, suffix, max_new_tokens=3 * CONTEXT, max_repeats=0)
    assert list(completion.ids) == greedy_by_full_passes(engine, prompt, suffix, 3 * CONTEXT)
    assert len(engine.prepare(prompt, suffix, 3 * CONTEXT).ids) <= CONTEXT - CONTEXT // 2


def test_the_text_is_decoded_from_the_ids(engine: Engine) -> None:
    pending = engine.prepare("def", None, 40).pending.decode()
    for completion in engine.complete_many("def", 10, temperature=1.0, max_new_tokens=40):
        whole = engine.tokenizer.decode(completion.ids).removeprefix(pending)
        assert whole.startswith(completion.text)
        assert whole[len(completion.text) :] in ("", "\ufffd")
        assert str(completion) == completion.text


def test_stop_strings_and_blocks_cut_the_same_ids(engine: Engine) -> None:
    # <|endoftext|> does not end a block inside a string; excluding it keeps the ids equal.
    engine = preferring(engine, engine.tokenizer.end_of_text, score=-1e4)
    options: dict[str, Any] = {"temperature": 1.0, "max_new_tokens": 60}
    plain = engine.complete("def f():\n    x", **options).text
    stop = plain[20:22]
    stopped = engine.complete("def f():\n    x", stop=stop, **options)
    assert stopped.text == plain[: plain.index(stop)]
    assert stopped.finish_reason == "stop"
    block = engine.complete("def f():\n    x", stop_at_block_end=True, **options)
    assert block.text == cut_at_block_end("def f():\n    x", plain)


def test_end_of_text_ends_a_completion_and_is_not_part_of_it(engine: Engine) -> None:
    completion = preferring(engine, engine.tokenizer.end_of_text).complete("x = 1")
    assert (completion.text, completion.ids, completion.finish_reason) == ("", (), "end_of_text")


@pytest.mark.parametrize("prompt", ["x = (1", "x = 'a", 'def f():\n    """Add', "x = [  # all"])
def test_blocks_do_not_end_within_a_string_or_brackets(engine: Engine, prompt: str) -> None:
    ending = preferring(engine, engine.tokenizer.end_of_text)
    assert ending.complete(prompt).finish_reason == "end_of_text"
    assert len(ending.complete(prompt, stop_at_block_end=True, max_new_tokens=1).ids) == 1
    infilling = ending.complete(prompt, "\n", stop_at_block_end=True)
    assert infilling.finish_reason == "end_of_text"
    closed = "def f():\n    return (1)\n"
    assert ending.complete(closed, stop_at_block_end=True).finish_reason == "end_of_text"


def test_repetition_is_limited_except_while_the_prompt_is_healed(
    engine: Engine,
) -> None:
    x = engine.tokenizer.encode("x")[0]
    stubborn = preferring(engine, x)
    assert set(stubborn.complete("", max_new_tokens=40, max_repeats=0).ids) == {x}
    ids = stubborn.complete("", max_new_tokens=40).ids
    runs = "".join("x" if each == x else " " for each in ids).split()
    assert max(map(len, runs)) == 1 + SHORT
    assert len(runs) > 2
    prompt = "retur" * 40
    assert stubborn.complete(prompt, max_new_tokens=9, max_repeats=1).text


def test_prose_temperature_applies_to_docstrings_and_comments(engine: Engine) -> None:
    """Decoding is greedy outside prose, so seeds differ only in docstrings and comments."""
    for prompt, differ in (('def f():\n    """Add', True), ("# all ", True), ("x = 'a", False)):
        ids = [
            engine.complete(prompt, prose_temperature=3.0, max_new_tokens=1, seed=seed).ids
            for seed in range(8)
        ]
        assert (len(set(ids)) > 1) == differ


def test_special_and_unknown_ids_are_never_chosen(engine: Engine) -> None:
    for token in (engine.tokenizer.fim_prefix, engine.tokenizer.padding, 325):
        stubborn = preferring(engine, token)
        for temperature in (0.0, 5.0):
            ids = stubborn.complete("x", temperature=temperature, max_new_tokens=20).ids
            assert token not in ids


def test_a_prompt_is_read_once_for_all_its_samples(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    original = type(engine.runner).run

    def counting(self: Runner, batch: Batch) -> Any:
        read.extend(len(row.ids) for row in batch.rows)
        return original(self, batch)

    monkeypatch.setattr(type(engine.runner), "run", counting)
    engine = Engine(fresh_runner(engine), engine.tokenizer)
    engine.complete_many("import os\n", 8, temperature=1.0, max_new_tokens=5)
    assert read.count(len(engine.prepare("import os\n", None, 5).ids)) == 1
    assert sum(length > 1 for length in read) == 1


def test_prompts_are_encoded_like_training_documents(engine: Engine) -> None:
    t = engine.tokenizer
    assert engine.prepare("", None, 1).ids == [t.end_of_text]
    assert engine.prepare("x<|endoftext|>", None, 1).ids == [
        t.end_of_text,
        *t.encode("x<|endoftext|>"),
    ]
    assert engine.prepare("x = ", "\ny", 1).ids[:3] == [
        t.end_of_text,
        t.fim_prefix,
        t.fim_suffix if engine.suffix_first else t.encode("x"),
    ]


def test_a_healed_prompt_is_generated_again_and_shown_once(engine: Engine) -> None:
    t = engine.tokenizer
    word = max((token for token in t.token_bytes if token.isalpha()), key=len)
    entry = t.token_bytes.index(word)
    for number in range(1, len(word)):
        prompt = "\n" + word[:-number].decode()
        healed = engine.prepare(prompt, None, 1)
        assert t.decode_bytes(healed.ids) + healed.pending == prompt.encode()
        assert healed.pending.endswith(word[:-number])
        completion = preferring(engine, entry).complete(prompt, max_new_tokens=2)
        assert completion.text.startswith(word[-number:].decode())
        assert entry in completion.ids
    for prompt in PROMPTS:
        for sample in engine.complete_many(prompt, 3, temperature=1.0, max_new_tokens=20):
            start = engine.prepare(prompt, None, 20).ids
            written = t.decode([*start, *sample.ids])
            assert written.startswith(prompt + sample.text)
