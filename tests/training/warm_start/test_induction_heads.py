"""Induction heads attend and copy before the first training step."""

import numpy as np
import pytest
import torch
from torch import Tensor

from codeling.model.attention import split_heads
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2, Block
from codeling.training.warm_start.induction_heads import (
    init_induction_heads,
    init_position_embeddings,
)

CONFIG = GPT2Config(600, 128, 3, 4, 128)


def built(config: GPT2Config) -> GPT2:
    """A model with induction heads, on random embeddings as large as trained ones."""
    model = GPT2(config)
    model.initialize(seed=0)
    init_position_embeddings(model)
    torch.nn.init.normal_(model.wte.weight, std=0.12, generator=torch.Generator().manual_seed(1))
    init_induction_heads(model, np.full(config.vocab_size, 1 / config.vocab_size))
    return model


@torch.no_grad()
def attention(model: GPT2, layer: int, input_ids: Tensor) -> Tensor:
    """Attention probabilities (H, T, T) of a layer."""
    config, length = model.config, input_ids.size(1)
    x = model.wte(input_ids) + model.wpe(torch.arange(length))
    for block in model.h[:layer]:
        x = block(x, None)
    block = model.h[layer]
    assert isinstance(block, Block)
    query, key, _ = split_heads(block.attn.c_attn(block.ln_1(x)), config.n_head)
    scores = query[0] @ key[0].transpose(1, 2) / query.size(-1) ** 0.5
    future = torch.ones(length, length, dtype=torch.bool).triu(1)
    return torch.softmax(scores.masked_fill(future, -torch.inf), -1)


def random_ids(length: int) -> Tensor:
    """Distinct random ids (1, T)."""
    return torch.randperm(CONFIG.vocab_size, generator=torch.Generator().manual_seed(2))[
        None, :length
    ]


def test_each_head_of_the_first_block_attends_one_position_further_back() -> None:
    seen = attention(built(CONFIG), 0, random_ids(128))
    places = torch.arange(CONFIG.n_head, 128)
    for head in range(CONFIG.n_head):
        assert seen[head, places, places - 1 - head].mean() > 0.8


def test_a_head_of_the_second_block_attends_to_what_followed_before() -> None:
    twice = random_ids(64).repeat(1, 2)
    seen = attention(built(CONFIG), 1, twice)
    places = torch.arange(64, 127)
    assert seen[0, places, places - 64 + 1].median() > 0.8
    once = attention(built(CONFIG), 1, random_ids(128))
    assert once[0, places, places - 64 + 1].median() < 0.1


def test_only_attention_and_embeddings_are_set() -> None:
    model, fresh = built(CONFIG), GPT2(CONFIG)
    fresh.initialize(seed=0)
    before, after = fresh.state_dict(), model.state_dict()
    differ = {name for name in before if not torch.equal(before[name], after[name])}
    matrices = {f"h.{layer}.attn.c_attn.{kind}" for layer in (0, 1) for kind in ("weight", "bias")}
    assert differ == {"wte.weight", "wpe.weight", "h.0.attn.c_proj.weight"} | matrices
    assert not after["h.0.attn.c_proj.weight"][32:].any()


@pytest.mark.parametrize("shape", [(1, 4, 128), (3, 1, 128)])
def test_a_model_with_one_block_or_head_keeps_its_weights(shape: tuple[int, int, int]) -> None:
    config = GPT2Config(600, 128, *shape)
    model, fresh = built(config), GPT2(config)
    fresh.initialize(seed=0)
    for name, weight in fresh.state_dict().items():
        assert name in {"wte.weight", "wpe.weight"} or torch.equal(weight, model.state_dict()[name])


@pytest.mark.parametrize("shape", [(2, 2, 6), (2, 3, 9), (2, 8, 16)])
def test_narrow_and_odd_heads_give_finite_outputs(shape: tuple[int, int, int]) -> None:
    config = GPT2Config(600, 16, *shape)
    assert torch.isfinite(built(config)(torch.arange(16)[None])).all()
