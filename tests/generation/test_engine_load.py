"""Engines loaded from a model folder, by codeling and by transformers."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers

from codeling.errors import ModelError, TokenizerError, UsageError
from codeling.generation.engine import Engine
from codeling.model import weights
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2
from codeling.tokenizer.tokenizer import Tokenizer

from .engines import CONTEXT, random_model


@pytest.fixture(scope="module")
def folder(
    small_model: GPT2, small_tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A model folder written by codeling."""
    path = tmp_path_factory.mktemp("model")
    t = small_tokenizer
    weights.save(
        path,
        small_model,
        end_of_text_id=t.end_of_text,
        pad_id=t.padding,
        suppressed_ids=sorted({*t.special_ids, *range(t.vocab_size, 330)} - {t.end_of_text}),
    )
    t.save_for_hugging_face(path, CONTEXT)
    return path


def test_a_loaded_engine_gives_the_same_completion(engine: Engine, folder: Path) -> None:
    precision = "int8" if engine.runner.precision == "int8" else "fp32"
    loaded = Engine.load(folder, "cpu", precision)
    assert loaded.complete("def f") == engine.complete("def f")


def test_weights_are_int8_on_a_cpu_by_default(folder: Path) -> None:
    assert Engine.load(folder).runner.precision == "int8"
    assert Engine.load(folder, precision="fp32").runner.precision == "float32"
    with pytest.raises(UsageError, match="precision must be auto, fp32 or int8, not 'int4'"):
        Engine.load(folder, precision="int4")


def test_the_transformers_pipeline_generates_our_ids(folder: Path, engine: Engine) -> None:
    pipe = transformers.pipeline("text-generation", model=str(folder))
    source = "import subprocess\nimport sys\nfr"
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


@pytest.mark.parametrize(("rate", "suffix_first"), [(None, True), (0.5, True), (0.0, False)])
def test_infillings_are_in_an_order_of_the_training(
    small_tokenizer: Tokenizer, tmp_path: Path, rate: float | None, suffix_first: bool
) -> None:
    t = small_tokenizer
    model = random_model(GPT2Config(t.vocab_size, CONTEXT, 1, 2, 8))
    weights.save(tmp_path, model, end_of_text_id=t.end_of_text, fim_spm_rate=rate)
    t.save_for_hugging_face(tmp_path, CONTEXT)
    ids = Engine.load(tmp_path, "cpu").prepare("a", "b", 1).ids
    assert (ids[2] == t.fim_suffix) is suffix_first


def test_a_tokenizer_of_another_model_is_refused(small_tokenizer: Tokenizer) -> None:
    small = random_model(GPT2Config(300, CONTEXT, 1, 2, 8))
    with pytest.raises(TokenizerError, match="320 entries, the model 300"):
        Engine.from_model(small, small_tokenizer)


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
