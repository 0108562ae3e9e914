"""Faults of the trainers that people start from, each with a test that would have caught it.

The Hugging Face course, chapter 7.6; CodeParrot (``research_projects/codeparrot``);
``run_clm.py`` of transformers. Each test describes its fault.
"""

from collections import Counter
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from codeling.dataset.loader import Loader
from codeling.dataset.tokens import TokenFile, write_tokens
from codeling.generation.engine import Engine
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2
from codeling.recipe import TrainingRecipe
from codeling.tokenizer.tokenizer import Tokenizer
from codeling.training.data import TrainingData
from codeling.training.loss.key_tokens import spellings, weigh
from codeling.training.optimizer.optimizer import Optimizer
from codeling.training.trainer import train

CONFIG = GPT2Config(512, 32, 2, 2, 16)


@pytest.mark.usefixtures("small_and_quick")
@pytest.mark.parametrize("micro_batch_size", [1, 2, 8])
def test_the_learning_rate_changes_once_per_update_and_ends_at_zero(
    tokenizer: Tokenizer,
    python_files: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    micro_batch_size: int,
) -> None:
    # The course steps its scheduler with every micro-batch of eight, over a horizon counted in
    # micro-batches of the data: its rate ends at 88 % of the peak.
    fractions: list[float] = []
    original = Optimizer.step

    def step(self: Optimizer, fraction: float) -> None:
        fractions.append(fraction)
        original(self, fraction)

    monkeypatch.setattr(Optimizer, "step", step)
    tokens = write_tokens(python_files[:3], tokenizer, tmp_path / "train.bin")
    recipe = TrainingRecipe(
        steps=20, tokens_per_step=8 * 32, micro_batch_size=micro_batch_size, adamw_lr=0.01,
        muon_lr=0.01, threads=1, device="cpu", validation_tokens=32, warmup_fraction=0.1,
    )  # fmt: skip
    train(recipe, CONFIG, TrainingData(tokenizer, tokens, tokens), tmp_path)
    assert len(fractions) == 20
    assert fractions.index(max(fractions)) == 1
    assert np.allclose(np.diff(fractions[2:]), -1 / 18)
    assert fractions[-1] - 1 / 18 == pytest.approx(0.0)  # one more update would have rate zero


def test_norms_and_biases_do_not_decay_and_matrices_do() -> None:
    # The course and CodeParrot keep ["bias", "LayerNorm.weight"] from decaying. No parameter of
    # GPT-2 is called so: its norms are ln_1, ln_2 and ln_f, and decay with the rest.
    model = GPT2(CONFIG)
    model.initialize(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = Optimizer(
        dict(model.named_parameters()), adamw_lr=0.1, muon_lr=0.1, weight_decay=0.1
    )
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step(1.0)
    norms = {name for name in before if ".ln_" in name or name.startswith("ln_f")}
    assert len(norms) == 2 * (2 * CONFIG.n_layer + 1)
    for name, parameter in model.named_parameters():
        if name in norms or name.endswith(".bias"):
            assert torch.equal(parameter, before[name]), name
        else:
            assert torch.allclose(parameter, before[name] * 0.99), name


def file_of(documents: list[list[int]]) -> TokenFile:
    ids = np.array([i for document in documents for i in document], dtype=np.uint16)
    ends = np.cumsum([0, *map(len, documents)]).astype(np.uint64)
    return TokenFile(ids, ends, np.zeros(len(documents), dtype=np.uint64))


def rows_of(loader: Loader, count: int) -> np.ndarray[Any, Any]:
    return np.stack([row for row, _ in islice(loader.sequences(loader.start()), count)])


def test_the_end_of_text_separates_documents_and_is_learned(tokenizer: Tokenizer) -> None:
    # The course never puts it between its chunks. And it pads with it, so that its collator
    # turns every one into -100: the loss does not know that a text ends.
    documents = [[100 + number] * 5 for number in range(64)]
    rows = rows_of(Loader(file_of(documents), tokenizer, 32, 0), 12)
    end = tokenizer.end_of_text
    targets = rows[:, 1:].reshape(-1).tolist()
    for here, following in pairwise(targets):
        assert here == following or end in (here, following)
    assert targets.count(end) == 64
    model = GPT2(CONFIG)
    model.initialize(0)
    ids = torch.from_numpy(rows)
    inputs, wanted = ids[:, :-1], ids[:, 1:]
    nats = model.token_nats(inputs, wanted)
    assert (nats[wanted == end] > 0).all()
    assert float(model.loss(inputs, wanted).detach()) == pytest.approx(float(nats.mean()), rel=1e-5)
    model.loss(inputs, wanted).backward()  # type: ignore[no-untyped-call]
    assert model.wte.weight.grad is not None
    assert float(model.wte.weight.grad[end].abs().max()) > 0


@pytest.mark.parametrize("count", [1, 999, 1000, 1001, 2500])
def test_no_remainder_of_documents_is_dropped(tokenizer: Tokenizer, count: int) -> None:
    # run_clm joins a thousand documents at a time and drops what does not fill a block; the
    # course drops the last chunk of every document.
    documents = [[5 + number % 500, 7, 9] for number in range(count)]
    num_rows = -(-4 * count // 32)
    ids = rows_of(Loader(file_of(documents), tokenizer, 32, 0), num_rows)[:, 1:].reshape(-1)
    first_epoch = Counter(ids[: 4 * count].tolist())
    expected = Counter(i for document in documents for i in document)
    assert first_epoch == expected + Counter({tokenizer.end_of_text: count})


def scripted_engine(text: str, prompt: str, tokenizer: Tokenizer) -> Engine:
    """An engine that completes ``prompt`` with ``text``; only positions decide its tokens."""
    context = 256
    model = GPT2(GPT2Config(tokenizer.vocab_size, context, 1, 1, context))
    engine = Engine.from_model(model, tokenizer)
    prepared = engine.prepare(prompt, None, 100)
    rest = tokenizer.encode(prepared.pending.decode() + text)
    script = [*prepared.ids, *rest, tokenizer.end_of_text]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.ln_f.weight.fill_(1.0)
        model.wpe.weight.copy_(1000.0 * torch.eye(context))
        for position, token in enumerate(script[1:]):
            model.wte.weight[token, position] = 1.0
    return engine


def test_a_completion_is_not_cut_at_the_definition_that_the_prompt_ends_in(
    tokenizer: Tokenizer,
) -> None:
    # CodeParrot looks for "\ndef" and the like in prompt and completion together, so that a
    # prompt with a newline before its own def, or with a helper before it, loses everything.
    prompt = "import math\n\n\ndef helper(x):\n    return x\n\n\ndef area(r):\n"
    body = "    return math.pi * r ** 2\n"
    text = body + "\n\ndef another():\n    pass\n"
    engine = scripted_engine(text, prompt, tokenizer)
    assert engine.complete(prompt, max_new_tokens=100).text == text
    at_block_end = engine.complete(prompt, max_new_tokens=100, stop_at_block_end=True)
    assert (at_block_end.text, at_block_end.finish_reason) == (body, "block")
    stopped = engine.complete(prompt, max_new_tokens=100, stop="\ndef")
    assert (stopped.text, stopped.finish_reason) == (body + "\n", "stop")


def test_a_word_of_several_tokens_counts_as_one_word(tokenizer: Tokenizer) -> None:
    # The course looks words up as single tokens and warns of the others, which count for nothing.
    spelled = spellings(["plt.show", "fit"], tokenizer)
    assert any(len(ids) > 1 for ids in spelled)
    plain = tokenizer.encode("x = 1\n" * 20)[:40]
    text = tokenizer.encode("plt.show(); model.fit(plt.show)\n" + "x = 1\n" * 20)[:40]
    weights = weigh(np.array([plain, text]), spelled, 1.0)
    assert weights.tolist() == pytest.approx([1 / 2.5, 4 / 2.5])
