"""Batched Muon against torch's Muon, which updates one matrix at a time."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from codeling.model.config import GPT2Config
from codeling.recipe import TokenizerRecipe, TrainingRecipe
from codeling.tokenizer.train import train as learn
from codeling.training import machine
from codeling.training import train_module as step_module
from codeling.training.machine import set_up
from codeling.training.optimizer import muon
from codeling.training.optimizer.muon import POLYNOMIALS, BatchedMuon, orthogonalize

SHAPES = [(24, 24), (24, 96), (96, 24), (24, 24), (24, 96), (1, 8)]


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_updates_agree_with_those_of_torch(decay: float) -> None:
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=generator) for shape in SHAPES]
    ours, theirs = ([nn.Parameter(each.clone()) for each in start] for _ in range(2))
    optimizers: list[BatchedMuon | torch.optim.Muon] = [
        BatchedMuon([{"params": ours}], lr=0.02, weight_decay=decay),
        torch.optim.Muon(theirs, lr=0.02, weight_decay=decay, adjust_lr_fn="match_rms_adamw"),
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
        way, theirs_way = ((each - before).flatten() for each in (one, other))
        assert way.abs().max() > 0.01
        assert torch.cosine_similarity(way, theirs_way, 0) > 0.97
        assert 0.65 / 1.2 < way.norm() / theirs_way.norm() < 1.35 / 0.68  # both ranges
        for name in optimizers[0].state[one]:
            assert torch.equal(optimizers[0].state[one][name], optimizers[1].state[other][name])


def test_the_polynomials_map_singular_values_close_to_one() -> None:
    x = torch.logspace(math.log10(0.002), 0, 5000, dtype=torch.float64)
    for a, b, c in POLYNOMIALS:
        x = 1.01 * x  # rounding on the way does not grow
        x = a * x + b * x**3 + c * x**5
    assert 0.6 < x.min() < x.max() < 1.4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(2, 40, 40), (2, 16, 40), (2, 40, 16), (1, 1, 8), (1, 8, 1)])
def test_singular_vectors_stay_and_values_move_to_one(
    shape: tuple[int, int, int], dtype: torch.dtype
) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = orthogonalize(matrices.to(dtype), 1e-7)
    assert found.dtype == dtype
    left, before, right = torch.linalg.svd(matrices, full_matrices=False)
    after = left.mT @ found.float() @ right.mT
    values = after.diagonal(dim1=1, dim2=2)
    near = 1e-5 if dtype == torch.float32 else 0.1
    torch.testing.assert_close(after, torch.diag_embed(values), rtol=0, atol=near)
    assert values[before > 0.01 * before.max()].min() > 0.6
    assert values.max() < 1.4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("columns", [24, 96])
def test_matrices_of_rank_one_zero_or_tiny_norm(columns: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    column = torch.randn(1, 24, 1, generator=generator)
    one = column @ torch.randn(1, 1, columns, generator=generator)
    assert torch.linalg.matrix_norm(orthogonalize(one.to(dtype), 1e-7).float(), 2) < 1.4
    assert not orthogonalize(torch.zeros(1, 24, columns, dtype=dtype), 1e-7).any()
    assert orthogonalize((1e-20 * one).to(dtype), 1e-7).abs().max() < 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_update_depends_on_its_batch_only_by_rounding(dtype: torch.dtype) -> None:
    # bf16 keeps 8 bits, and four steps round a dozen times
    near = 1e-5 if dtype == torch.float32 else 12 * 2**-8
    matrices = torch.randn(8, 16, 16, generator=torch.Generator().manual_seed(0)).to(dtype)
    whole = orthogonalize(matrices, 1e-7).float()
    for part in ([0], [3, 7], [0, 1, 2, 4, 5, 6]):
        alone = orthogonalize(matrices[part], 1e-7).float()
        torch.testing.assert_close(alone, whole[part], rtol=0, atol=near)


@pytest.mark.parametrize("native", [True, False])
def test_a_step_multiplies_in_bf16_only_if_it_is_native(
    native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    types = set()

    def noted(matrices: torch.Tensor, eps: float) -> torch.Tensor:
        types.add(matrices.dtype)
        return matrices

    monkeypatch.setattr(machine, "multiplies_bf16", lambda device: native)
    monkeypatch.setattr(muon, "orthogonalize", noted)
    recipe = TrainingRecipe(adamw_lr=0.01, muon_lr=0.01)
    tokenizer = learn(["import os\n"], TokenizerRecipe(vocab_size=261))
    module = step_module.TrainModule(recipe, GPT2Config(261, 8, 1, 1, 8), tokenizer, set_up("cpu"))
    assert module.train_batch(np.zeros((2, 9), np.int64), 2, 1.0)
    assert types == {torch.bfloat16 if native else torch.float32}
