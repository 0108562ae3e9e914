"""Helpers of the engine's tests: random models, an engine that prefers a token, and a reference."""

import numpy as np
import torch
from numpy.typing import NDArray

from codeling.generation.engine import Engine
from codeling.generation.runners import Runner
from codeling.generation.runners.fast import FastRunner
from codeling.generation.runners.torch import TorchRunner
from codeling.generation.scheduler import Batch, Row
from codeling.generation.sequence import window_start
from codeling.model.config import GPT2Config
from codeling.model.folder import Tensors
from codeling.model.gpt2 import GPT2

CONTEXT = 32
PROMPTS = ["", "def f(x):\n    return ", "import os", "é" * 50, "x = 1\n" * 40, "class A:\n"]


def random_model(config: GPT2Config, seed: int = 0) -> GPT2:
    model = GPT2(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3, generator=generator)
    return model


def tensors_of(model: GPT2) -> Tensors:
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


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
        last_ids = [i for row in batch.rows if row.num_logits for i in row.ids[-row.num_logits :]]
        for scores, last in zip(logits, last_ids, strict=True):
            if after is None or last == after:
                scores[token] = score
        return logits

    runner.run = run  # type: ignore[method-assign]
    return Engine(runner, engine.tokenizer, lambda: engine.model)


@torch.inference_mode()
def full_pass(engine: Engine, window: list[int]) -> NDArray[np.float32]:
    """Logits (V,) after ``window``: those of torch, or of the int8 runner without its cache."""
    if engine.runner.precision != "int8":
        return np.asarray(engine.model(torch.tensor([window]))[0, -1])
    runner: Runner = fresh_runner(engine)
    runner.reserve(1)
    return np.asarray(runner.run(Batch(rows=[Row(0, 0, window, 1)]))[0])


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
        logits = full_pass(engine, window)
        logits[engine.tokenizer.vocab_size :] = -np.inf
        logits[list(special)] = -np.inf
        for i, token in enumerate(table):
            if pending and not (token and (token.startswith(pending) or pending.startswith(token))):
                logits[i] = -np.inf
        picked = int(logits.argmax())
        if picked == engine.tokenizer.end_of_text:
            break
        new.append(picked)
        tokens.append(picked)
        pending = pending[len(table[picked]) :]
    return new
