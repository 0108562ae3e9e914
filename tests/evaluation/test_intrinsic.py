"""Bits per byte against brute force, and what evaluation.json says."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from codeling.errors import InputError
from codeling.evaluation import intrinsic
from codeling.evaluation.intrinsic import BitsPerByte, bits_per_byte, evaluate_test_split
from codeling.evaluation.syntax import Outcome
from codeling.generation.engine import Engine
from codeling.generation.scoring import TorchScorer, windows
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2
from codeling.recipe import EvaluationRecipe, TokenizerRecipe
from codeling.tokenizer.tokenizer import Tokenizer
from codeling.tokenizer.train import train

CONTEXT = 16
TEXTS = [
    "x = 1\n",
    "",
    "def mean(xs):\n    return sum(xs) / len(xs)\n",
    "naïve = 'é' * 3  # 変数\n",
    "\n".join(f"value_{n} = compute({n}, 'é')" for n in range(9)) + "\n",
    "yz" * 60,
]


@dataclass(frozen=True)
class Document:
    repository: str
    path: str
    text: str
    start_line: int = 1


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Small products are slower on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train(TEXTS * 3, TokenizerRecipe.model_validate({"vocab_size": 300}))


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> GPT2:
    model = GPT2(GPT2Config(tokenizer.vocab_size, CONTEXT, n_layer=2, n_head=2, n_embd=16))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


def brute_force(model: GPT2, tokenizer: Tokenizer, text: str) -> float:
    """Brute force: one token at a time, each with the context of its window."""
    ids = [tokenizer.end_of_text, *tokenizer.encode(text)]
    nats = 0.0
    half = CONTEXT // 2
    for target in range(1, len(ids)):
        begin = 0 if target <= CONTEXT else math.ceil((target - CONTEXT) / half) * half
        with torch.no_grad():
            logits = model(torch.tensor([ids[begin:target]]))[0, -1].double()
        nats -= float(torch.log_softmax(logits, dim=0)[ids[target]])
    return nats


def test_the_sum_equals_brute_force(model: GPT2, tokenizer: Tokenizer) -> None:
    result = bits_per_byte(TorchScorer(model), tokenizer, TEXTS)
    texts = [text for text in TEXTS if text]
    expected = [brute_force(model, tokenizer, text) for text in texts]
    assert result.document_nats == pytest.approx(expected, rel=1e-5)
    assert result.document_bytes == tuple(len(text.encode()) for text in texts)
    assert result.num_tokens == sum(len(tokenizer.encode(text)) for text in texts)
    assert result.num_documents == len(texts)
    num_bytes = sum(len(text.encode()) for text in texts)
    assert result.value == pytest.approx(sum(expected) / math.log(2) / num_bytes, rel=1e-5)


def test_windows_that_are_scored_together_do_not_matter(
    model: GPT2, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = bits_per_byte(TorchScorer(model), tokenizer, TEXTS)
    monkeypatch.setattr(intrinsic, "_GROUP", 3)
    result = bits_per_byte(TorchScorer(model), tokenizer, iter(TEXTS))
    assert result.document_nats == pytest.approx(expected.document_nats, rel=1e-6)
    assert result.document_bytes == expected.document_bytes
    assert result.num_tokens == expected.num_tokens


@pytest.mark.parametrize("context", [1, 2, 7, 8, 512])
@pytest.mark.parametrize("num_tokens", [0, 1, 2, 7, 8, 9, 12, 13, 100, 1024, 1025])
def test_windows_score_every_token_once_with_half_a_context(num_tokens: int, context: int) -> None:
    found = list(windows(num_tokens, context))
    scored = [token for _, end, first in found for token in range(first, end)]
    assert scored == list(range(num_tokens))
    for begin, end, first in found:
        assert 0 <= begin <= first < end <= num_tokens
        assert end - begin <= context
        assert begin == 0 or first - begin >= context // 2
    step = max(1, context // 2)
    over = max(0, num_tokens - context)
    assert len(found) == (num_tokens > 0) + math.ceil(over / step)


def test_a_limit_cuts_between_characters(model: GPT2, tokenizer: Tokenizer) -> None:
    result = bits_per_byte(TorchScorer(model), tokenizer, ["ab", "éé", "never read"], max_bytes=5)
    assert result.document_bytes == (2, 2)
    whole = bits_per_byte(TorchScorer(model), tokenizer, ["ab", "é"])
    assert result.nats == pytest.approx(whole.nats, rel=1e-6)
    exact = bits_per_byte(TorchScorer(model), tokenizer, ["ab", "é", "never read"], max_bytes=4)
    assert exact.document_bytes == (2, 2)


def test_special_tokens_in_a_text_are_text(model: GPT2, tokenizer: Tokenizer) -> None:
    text = "<|endoftext|>"
    result = bits_per_byte(TorchScorer(model), tokenizer, [text])
    assert result.num_tokens == len(tokenizer.encode(text)) > 1


def test_no_text_is_an_error(model: GPT2, tokenizer: Tokenizer) -> None:
    for texts in ([], [""]):
        with pytest.raises(InputError, match="no text"):
            bits_per_byte(TorchScorer(model), tokenizer, texts)


def test_the_interval_covers_the_true_value_as_often_as_it_claims() -> None:
    """Documents from a known distribution, repeated."""
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        num_bytes = generator.integers(100, 2000, size=60)
        rates = generator.gamma(16.0, 1.0 / 16.0, size=60)  # mean 1 bit per byte
        nats = rates * num_bytes * math.log(2)
        score = BitsPerByte(tuple(nats.tolist()), tuple(num_bytes.tolist()), 1)
        interval = score.interval(seed=0, resamples=300)
        assert interval is not None
        covered += interval[0] <= 1.0 <= interval[1]
    assert 0.88 <= covered / 200 <= 0.99


def test_one_document_has_no_interval() -> None:
    assert BitsPerByte((1.0,), (3,), 1).interval(seed=0) is None


def test_evaluation_is_json_and_reproducible(
    model: GPT2, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    engine = Engine.from_model(model, tokenizer)
    documents = [Document(f"repo-{n % 2}", f"{n}.py", text) for n, text in enumerate(TEXTS)]
    functions = [
        Document("repo-0", f"{n}.py", f"def f{n}(x):\n    return x * {n}\n") for n in range(5)
    ]
    settings = EvaluationRecipe.model_validate(
        {"max_bytes": 500, "completions": 4, "max_new_tokens": 6, "temperature": 0.5}
    )
    one = evaluate_test_split(engine, tmp_path, documents, functions, settings)
    two = evaluate_test_split(engine, tmp_path, documents[::-1], functions[::-1], settings)
    assert json.loads(json.dumps(one, allow_nan=False))
    one_bits, two_bits = one.pop("bits_per_byte"), two.pop("bits_per_byte")
    assert one == two
    assert one_bits == two_bits
    assert one_bits["num_bytes"] <= 500
    assert one_bits["interval_95"][0] <= one_bits["value"] <= one_bits["interval_95"][1]
    rate = one["parse_rate"]
    assert rate["num_completions"] == 4 == len(rate["samples"])
    outcomes = ("num_parsed", "num_stub", "num_broken", "num_empty")
    assert sum(rate[name] for name in outcomes) == rate["num_completions"]
    assert sum(rate[f"num_{outcome}"] for outcome in get_args(Outcome)) == 4
    assert rate["num_functions"] == 4
    assert one_bits["split"] == {
        "name": "test",
        "num_bytes": sum(len(text.encode()) for text in TEXTS),
        "num_documents": len(TEXTS),
        "num_repositories": 2,
    }
    assert one_bits["precision"] == "fp32"
    assert one["settings"]["seed"] == 0
    assert one["model_sha256"] == sha256(b"weights").hexdigest()


def test_evaluation_without_functions(model: GPT2, tokenizer: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    engine = Engine.from_model(model, tokenizer)
    documents = [Document("repo", "a.py", "x = 1\n")]
    for completions, functions in (
        (0, [Document("repo", "a.py", "def f():\n    1\n")]),
        (5, []),
    ):
        settings = EvaluationRecipe.model_validate({"completions": completions})
        result = evaluate_test_split(engine, tmp_path, documents, functions, settings)
        assert result["parse_rate"] is None
