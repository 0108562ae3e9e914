"""Copies are found, original text is not, and a trained model reveals a planted canary."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from codeling.errors import InputError, UsageError
from codeling.evaluation.data.contamination import TrainingCorpus
from codeling.evaluation.journal import Journal
from codeling.evaluation.suites.memorization import (
    MemorizationPrompt,
    held_out_prompts,
    make_canaries,
    measure,
    read_canaries,
    training_prompts,
)
from codeling.evaluation.suites.suite import SampleSettings
from codeling.generation.engine import Engine
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2
from codeling.provenance.index import build
from codeling.run_folder import RunFolder
from codeling.tokenizer.tokenizer import Tokenizer

from ..conftest import AnswerFunction, Scripted, Source

Make = Callable[[AnswerFunction], Scripted]


@pytest.fixture
def sources(python_files: list[str]) -> list[Source]:
    return [Source(text, f"{number}.py") for number, text in enumerate(python_files)]


@pytest.fixture
def corpus(sources: list[Source], tmp_path: Path) -> TrainingCorpus:
    build(sources, tmp_path / "run" / "provenance")
    found = TrainingCorpus.load(RunFolder(tmp_path / "run"))
    assert found is not None
    return found


def test_copies_are_found_and_original_text_is_not(
    scripted: Make, corpus: TrainingCorpus, python_files: list[str], tmp_path: Path
) -> None:
    lines = python_files[3].split("\n")
    start = next(n for n, line in enumerate(lines) if line.startswith("def ")) + 1
    copied = "\n".join(lines[start : start + 20])
    own = "".join(f"zq_{n} = wv({n} + {n * 7}, 'own {n}')\n" for n in range(30))
    answer = {"copy": copied, "own": own, "short": "\n".join(copied.split("\n")[:2]), "": ""}
    prompts = [MemorizationPrompt("held-out", name, name) for name in answer]
    engine = scripted(lambda prompt, suffix, number: answer[prompt])
    result = measure(engine, prompts, SampleSettings(n=2), corpus, Journal(tmp_path / "j", "1"))
    assert {r["task_id"]: r["num_copies"] for r in result["problems"]} == {
        "copy": 2, "own": 0, "short": 0, "": 0,
    }  # fmt: skip
    assert result["scores"][0]["value"] == 0.25
    place = result["problems"][0]["samples"][0]["places"][0]
    assert place["path"] == "3.py"


def test_prompts_are_signatures_and_first_halves(sources: list[Source]) -> None:
    function = replace(sources[0], text="def f(x):\n    '''Doc.'''\n    return x\n")
    assert [a.prompt for a in held_out_prompts([function], 5, 0)] == ["def f(x):\n    '''Doc.'''\n"]
    long = replace(function, text="def f(x):\n" + "".join(f"    x += {n}\n" for n in range(20)))
    (prompts,) = training_prompts([function, long], 5, 0)
    assert prompts.prompt == "".join(line + "\n" for line in long.text.split("\n")[:11])
    assert long.text.startswith(prompts.prompt)


def test_canaries_depend_on_the_seed_and_are_distinct() -> None:
    canaries = make_canaries(100, 7)
    assert canaries == make_canaries(100, 7)
    assert len({c.secret for c in canaries}) == len({c.prefix for c in canaries}) == 100
    assert all(re.fullmatch(r' "\d{16}"', c.secret) for c in canaries)
    assert canaries != make_canaries(100, 8)


def test_only_a_planted_canary_is_found(
    corpus: TrainingCorpus, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    planted, other = make_canaries(2, 1)
    path = tmp_path / "canaries.jsonl"
    path.write_text(
        "".join(
            json.dumps({"prefix": c.prefix, "secret": c.secret}) + "\n" for c in (planted, other)
        )
    )
    assert read_canaries(path) == [planted, other]
    model = GPT2(GPT2Config(tokenizer.vocab_size, 64, 2, 2, 64))
    model.initialize(0)
    text = planted.prefix + planted.secret + "\n"
    ids = torch.tensor([[tokenizer.end_of_text, *tokenizer.encode(text), tokenizer.end_of_text]])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        loss = model.loss(ids[:, :-1], ids[:, 1:])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    prompts = [
        MemorizationPrompt("canary", str(n), c.prefix, c.secret)
        for n, c in enumerate((planted, other))
    ]
    sampling = SampleSettings(max_new_tokens=32)
    result = measure(
        Engine.from_model(model, tokenizer), prompts, sampling, corpus, Journal(tmp_path / "j", "1")
    )
    assert [record["num_copies"] for record in result["problems"]] == [1, 0]
    assert {s["name"]: s["value"] for s in result["scores"]} == {"canaries found": 0.5}


@pytest.mark.parametrize("line", ["{", "[]", '{"prefix": "x"}', '{"prefix": "x", "secret": " "}'])
def test_a_line_that_is_not_a_canary_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "canaries.jsonl"
    path.write_text('{"prefix": "a", "secret": "b"}\n' + line + "\n")
    with pytest.raises(InputError, match="line 2 is not a canary"):
        read_canaries(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_canaries(tmp_path / "none")
