"""Muon in batches against torch's, a matrix at a time."""

from typing import Any

import pytest
import torch
from torch import nn

from codeling.training.muon import BatchedMuon

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
