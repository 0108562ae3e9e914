import subprocess
import sys
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray

from codeling.errors import ModelError, TokenizerError, UsageError
from codeling.generation.cycles import SHORT
from codeling.generation.engine import Engine
from codeling.generation.runners import Runner
from codeling.generation.runners.conversion import convert
from codeling.generation.runners.fast import FastRunner
from codeling.generation.runners.torch import TorchRunner
from codeling.generation.scheduler import Batch
from codeling.generation.sequence import window_start
from codeling.generation.text.blocks import cut_at_block_end
from codeling.model import weights
from codeling.model.config import GPT2Config
from codeling.model.folder import Tensors
from codeling.model.gpt2 import GPT2
from codeling.recipe import TokenizerRecipe
from codeling.tokenizer.tokenizer import Tokenizer
from codeling.tokenizer.train import train

CONTEXT = 32
PROMPTS = ["", "def f(x):\n    return ", "import os", "é" * 50, "x = 1\n" * 40, "class A:\n"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    source = Path(__file__).read_text()
    return train([source], TokenizerRecipe(vocab_size=320, seed=0))


def random_model(config: GPT2Config, seed: int = 0) -> GPT2:
    model = GPT2(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3, generator=generator)
    return model


@pytest.fixture(scope="module", params=["torch", "fast", "fast int8"])
def engine(tokenizer: Tokenizer, request: pytest.FixtureRequest) -> Engine:
    """An engine per runner. Its weights are exact in int8, so all runners share one reference."""
    # More entries than the tokenizer: a vocabulary is often padded.
    model = rounded(random_model(GPT2Config(330, CONTEXT, 2, 2, 32)))
    if request.param == "torch":
        return Engine.from_model(model, tokenizer)
    weights = convert(model.config, tensors_of(model), int8=request.param == "fast int8")
    return Engine(FastRunner(weights), tokenizer, lambda: model)


def tensors_of(model: GPT2) -> Tensors:
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def rounded(model: GPT2) -> GPT2:
    """``model`` with every matrix rounded to int8, one scale per output."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name != "wpe.weight" and parameter.dim() == 2:
                outputs = 1 if name == "wte.weight" else 0
                scale = parameter.abs().amax(dim=outputs, keepdim=True) / 127
                parameter.copy_((parameter / scale).round() * scale)
    return model


def fresh_runner(engine: Engine) -> Runner:
    """New runner of the same kind and weights, with empty slots."""
    old = engine.runner
    return FastRunner(old.weights) if isinstance(old, FastRunner) else TorchRunner(engine.model)


def preferring(engine: Engine, token: int, after: int | None = None, score: float = 1e4) -> Engine:
    """The same engine with the logit of ``token`` set to ``score``, everywhere or only after the
    token ``after``."""

    runner = fresh_runner(engine)

    def run(batch: Batch) -> NDArray[np.float32]:
        logits = type(runner).run(runner, batch)
        last_ids = [row.ids[-1] for row in batch.rows if row.wants_logits]
        for scores, last in zip(logits, last_ids, strict=True):
            if after is None or last == after:
                scores[token] = score
        return logits

    runner.run = run  # type: ignore[method-assign]
    return Engine(runner, engine.tokenizer, lambda: engine.model)


@torch.inference_mode()
def greedy_by_full_passes(
    engine: Engine, prompt: str, suffix: str | None, max_new_tokens: int
) -> list[int]:
    """Greedy ids with a full pass over the window per token: reference of the cached path."""
    healed = engine.prepare(prompt, suffix, max_new_tokens)
    tokens, pending, table = list(healed.ids), healed.pending, engine.tokenizer.token_bytes
    special = engine.tokenizer.special_ids - {engine.tokenizer.end_of_text}
    new: list[int] = []
    while len(new) < max_new_tokens and (suffix is None or len(tokens) <= CONTEXT):
        window = tokens[window_start(len(tokens), CONTEXT) :]
        logits = engine.model(torch.tensor([window]))[0, -1]
        logits[engine.tokenizer.vocab_size :] = -torch.inf
        logits[list(special)] = -torch.inf
        for i, token in enumerate(table):
            if pending and not (token and (token.startswith(pending) or pending.startswith(token))):
                logits[i] = -torch.inf
        picked = int(logits.argmax())
        if picked == engine.tokenizer.end_of_text:
            break
        new.append(picked)
        tokens.append(picked)
        pending = pending[len(table[picked]) :]
    return new


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


SETTINGS: list[dict[str, Any]] = [
    {},
    {"temperature": 1.0, "seed": 3},
    {"temperature": 0.8, "top_k": 20, "top_p": 0.9, "stop": ["e", "\n"]},
    {"temperature": 2.0, "stop_at_block_end": True},
    {"temperature": 0.5, "prose_temperature": 2.0, "stop_at_block_end": True},
    {"max_repeats": 0},
    {"max_repeats": 1},
]


@pytest.mark.parametrize("options", SETTINGS, ids=str)
@pytest.mark.parametrize("batch_size", [4, 100])
def test_batched_equals_alone(engine: Engine, options: dict[str, Any], batch_size: int) -> None:
    suffixes = [None, "\n", None, None, "é", None]
    together = engine.complete_batch(
        PROMPTS, suffixes, n=3, batch_size=batch_size, max_new_tokens=50, **options
    )
    for prompt, suffix, samples in zip(PROMPTS, suffixes, together, strict=True):
        alone = engine.complete_many(prompt, 3, suffix, max_new_tokens=50, **options)
        assert samples == alone
        assert samples[0] == engine.complete(prompt, suffix, max_new_tokens=50, **options)


@pytest.mark.parametrize("options", SETTINGS, ids=str)
@pytest.mark.parametrize("prompt", PROMPTS)
def test_streamed_equals_completed(engine: Engine, options: dict[str, Any], prompt: str) -> None:
    pieces = list(engine.stream(prompt, max_new_tokens=50, **options))
    assert "".join(pieces) == engine.complete(prompt, max_new_tokens=50, **options).text
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
    assert ending.complete(prompt, "\n", stop_at_block_end=True).ids == ()
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
    for token in (engine.tokenizer.fim_prefix, engine.tokenizer.fim_pad, 325):
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


def test_the_window_keeps_between_three_quarters_and_all_of_the_context() -> None:
    for context in (1, 2, 3, 16, 33):
        before = 0
        for num_tokens in range(1, 5 * context):
            start = window_start(num_tokens, context)
            seen = num_tokens - start
            assert seen == num_tokens or context - max(1, context // 4) < seen <= context
            assert start >= before
            before = start


def test_prompts_are_encoded_like_training_documents(engine: Engine) -> None:
    t = engine.tokenizer
    assert engine.prepare("", None, 1).ids == [t.end_of_text]
    assert engine.prepare("x<|endoftext|>", None, 1).ids == [
        t.end_of_text,
        *t.encode("x<|endoftext|>"),
    ]
    assert engine.prepare("x = ", "\ny", 1).ids == [
        t.end_of_text,
        t.fim_prefix,
        *t.encode("x = "),
        t.fim_suffix,
        *t.encode("\ny"),
        t.fim_middle,
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


def test_a_long_infilling_prompt_keeps_the_text_near_the_cursor(engine: Engine) -> None:
    t, prefix, suffix = engine.tokenizer, "a = 1\n" * 50, "b = 2\n" * 50
    ids = engine.prepare(prefix, suffix, 8).ids
    assert len(ids) == CONTEXT - 8
    middle = ids.index(t.fim_suffix)
    before, after = ids[2:middle], ids[middle + 1 : -1]
    assert t.encode(prefix)[-len(before) :] == before
    assert t.encode(suffix)[: len(after)] == after
    assert len(after) == (CONTEXT - 8 - 4) // 4
    short = engine.prepare("a", suffix, 8).ids
    assert len(short) == CONTEXT - 8


@pytest.fixture(scope="module")
def folder(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder written by codeling."""
    path = tmp_path_factory.mktemp("model")
    t = engine.tokenizer
    weights.save(
        path,
        engine.model,
        end_of_text_id=t.end_of_text,
        pad_id=t.fim_pad,
        suppressed_ids=sorted({*t.special_ids, *range(t.vocab_size, 330)} - {t.end_of_text}),
    )
    t.save_for_hugging_face(path, CONTEXT)
    return path


def test_a_loaded_engine_gives_the_same_completion(engine: Engine, folder: Path) -> None:
    assert Engine.load(folder, "cpu").complete("def f") == engine.complete("def f")


def test_the_transformers_pipeline_generates_our_ids(folder: Path, engine: Engine) -> None:
    pipe = transformers.pipeline("text-generation", model=str(folder))
    source = Path(__file__).read_text()[:30]
    prepared = {source[:end]: engine.prepare(source[:end], None, 1) for end in range(30)}
    not_healed = {prompt: each.ids for prompt, each in prepared.items() if not each.pending}
    for prompt, ids in list(not_healed.items())[::4]:
        room = CONTEXT - len(ids)
        theirs = pipe.model.generate(torch.tensor([ids]), max_new_tokens=room, do_sample=False)
        new = theirs[0, len(ids) :].tolist()
        new = new[: new.index(engine.tokenizer.end_of_text)] if 0 in new else new
        assert list(engine.complete(prompt, max_new_tokens=room, max_repeats=0).ids) == new
    answer = pipe("import os", max_new_tokens=5, do_sample=False)
    assert answer[0]["generated_text"].startswith("import os")


def test_a_tokenizer_of_another_model_is_refused(folder: Path, tokenizer: Tokenizer) -> None:
    small = random_model(GPT2Config(300, CONTEXT, 1, 2, 8))
    with pytest.raises(TokenizerError, match="320 entries, the model 300"):
        Engine.from_model(small, tokenizer)


@pytest.mark.parametrize(
    "damage, error, message",
    [
        (lambda f: (f / "tokenizer.json").unlink(), TokenizerError, "tokenizer.json: cannot be"),
        (lambda f: (f / "tokenizer.json").write_text("{}"), TokenizerError, "tokenizer.json: not"),
        (
            lambda f: (f / "model.safetensors").write_bytes(b""),
            ModelError,
            "model.safetensors: not a safetensors file, or damaged",
        ),
    ],
)
def test_a_broken_folder_is_one_line(
    folder: Path,
    tmp_path: Path,
    damage: Callable[[Path], object],
    error: type[Exception],
    message: str,
) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    damage(tmp_path)
    with pytest.raises(error) as caught:
        Engine.load(tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"max_new_tokens": 0}, "max_new_tokens must be 1 or more"),
        ({"stop": ["a", ""]}, "a stop string must not be empty"),
        ({"stop": ""}, "a stop string must not be empty"),
        ({"temperature": -1.0}, "temperature must be 0 or more"),
        ({"n": 0}, "n and batch_size must be 1 or more"),
        ({"suffixes": ["a", "b"]}, "1 prompt, but 2 suffixes"),
        ({"first_samples": [0, 1]}, "1 prompt, but 2 first_samples"),
        ({"n": 2.5}, "n must be an integer, not 2.5"),
        ({"n": "3"}, "n must be an integer, not '3'"),
        ({"batch_size": 2.0}, "batch_size must be an integer, not 2.0"),
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(
    engine: Engine, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        engine.complete_batch(["x"], **options)


def test_an_unknown_keyword_is_an_error(engine: Engine) -> None:
    with pytest.raises(TypeError, match="max_tokens"):
        engine.stream("x", max_tokens=3)  # type: ignore[call-arg]


def test_complete_refuses_n_and_names_complete_many(engine: Engine) -> None:
    with pytest.raises(UsageError, match="one completion; complete_many"):
        engine.complete("x", n=3)  # type: ignore[call-arg]
    assert len(engine.complete_many("x", 3, max_new_tokens=1)) == 3


@pytest.mark.parametrize("prompt, suffix", [(None, None), (b"x", None), ("x", 3), (["x"], None)])
def test_a_prompt_that_is_not_a_string_is_refused(engine: Engine, prompt: Any, suffix: Any) -> None:
    with pytest.raises(UsageError, match="must be a string, not"):
        engine.complete(prompt, suffix)
    with pytest.raises(UsageError, match="must be a string, not"):
        engine.stream(prompt, suffix)


START = """
import sys, torch, codeling
state = torch.random.get_rng_state()
assert len(codeling.load(sys.argv[1]).complete("def ", max_new_tokens=1).ids) <= 1
assert torch.equal(torch.random.get_rng_state(), state), "random numbers were drawn"
heavy = {"torch._dynamo", "torch._inductor", "sympy", "daft", "pyarrow", "huggingface_hub"}
print(sorted(heavy & sys.modules.keys()))
"""


def test_the_first_token_needs_no_compiler_and_no_random_numbers(folder: Path) -> None:
    command = [sys.executable, "-c", START, str(folder)]
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"[]\n"


def test_no_prompts_give_no_completions(engine: Engine) -> None:
    assert engine.complete_batch([]) == []
