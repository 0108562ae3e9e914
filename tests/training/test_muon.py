"""Muon in batches against torch's, a matrix at a time."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from codeling.model.config import GPT2Config
from codeling.recipe import TokenizerRecipe, TrainingRecipe
from codeling.tokenizer.train import train as learn
from codeling.training import machine, muon
from codeling.training import step as step_module
from codeling.training.machine import set_up
from codeling.training.muon import BatchedMuon, orthogonalised

SHAPES = [(24, 24), (24, 96), (96, 24), (24, 24), (24, 96), (1, 8)]


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_it_does_what_torch_does_matrix_by_matrix(decay: float) -> None:
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=generator) for shape in SHAPES]
    ours, theirs = ([nn.Parameter(each.clone()) for each in start] for _ in range(2))
    settings: dict[str, Any] = {
        "lr": 0.02,
        "weight_decay": decay,
        "adjust_lr_fn": "match_rms_adamw",
    }
    optimizers: list[torch.optim.Optimizer] = [
        BatchedMuon(ours, **settings),
        torch.optim.Muon(theirs, **settings),
    ]
    for step in range(4):
        for number, shape in enumerate(SHAPES):
            gradient = torch.randn(shape, generator=generator)
            for parameters in (ours, theirs):
                idle = number == step  # a parameter without a gradient stays
                parameters[number].grad = None if idle else gradient.clone()
        for optimizer in optimizers:
            optimizer.step()
    for one, other, before in zip(ours, theirs, start, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-3)
        assert (one - before).abs().max() > 0.01
        for name in optimizers[0].state[one]:
            assert torch.equal(optimizers[0].state[one][name], optimizers[1].state[other][name])


def test_where_bf16_is_emulated_the_products_are_exact_ones() -> None:
    matrices = torch.randn(2, 16, 40, generator=torch.Generator().manual_seed(0))
    exact, rounded = (
        orthogonalised(matrices.to(dtype), (3.4445, -4.7750, 2.0315), 5, 1e-7)
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert exact.dtype == torch.float32
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(exact, rounded.float(), rtol=0, atol=0.05)
    values = torch.linalg.svdvals(exact)  # within Newton's and Schulz's range, Jordan et al. 2024
    assert 0.6 < values.min() < values.max() < 1.3


@pytest.mark.parametrize("native", [True, False])
def test_a_step_multiplies_in_bf16_only_where_the_processor_does(
    native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    types = set()

    def noted(matrices: torch.Tensor, *rest: object) -> torch.Tensor:
        types.add(matrices.dtype)
        return matrices

    monkeypatch.setattr(machine, "multiplies_bf16", lambda device: native)
    monkeypatch.setattr(muon, "orthogonalised", noted)
    recipe = TrainingRecipe(adamw_lr=0.01, muon_lr=0.01)
    tokenizer = learn(["import os\n"], TokenizerRecipe(vocab_size=261))
    updater = step_module.Updater(recipe, GPT2Config(261, 8, 1, 1, 8), tokenizer, set_up("cpu"))
    assert updater.update(np.zeros((2, 9), np.int64), 2, 1.0)
    assert types == {torch.bfloat16 if native else torch.float32}
