"""AdamW against torch's class, and without what that imports."""

import subprocess
import sys

import torch
from torch import nn

from codeling.training.optimizer.adamw import AdamW


def test_weights_and_buffers_equal_those_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=generator) for shape in [(8, 5), (7,), (3, 4)]]
    ours, theirs = ([nn.Parameter(each.clone()) for each in start] for _ in range(2))

    def groups(parameters: list[nn.Parameter]) -> list[dict[str, object]]:
        return [{"params": parameters[:2]}, {"params": parameters[2:], "weight_decay": 0.0}]

    optimizers: list[AdamW | torch.optim.AdamW] = [
        AdamW(groups(ours), lr=0.1, betas=(0.9, 0.95), eps=1e-10, weight_decay=0.1),
        torch.optim.AdamW(groups(theirs), lr=0.1, betas=(0.9, 0.95), eps=1e-10, weight_decay=0.1),
    ]
    for step in range(4):
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            gradient = torch.randn(one.shape, generator=generator)
            for parameter in (one, other):  # a parameter without a gradient stays
                parameter.grad = None if number == step else gradient.clone()
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = 0.1 / (1 + step)
            optimizer.step()
        for one, other in zip(ours, theirs, strict=True):
            assert torch.equal(one, other)
            states = [optimizers[0].state[one], optimizers[1].state[other]]
            assert states[0].keys() == states[1].keys()
            assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert all((one - before).abs().max() > 0.01 for one, before in zip(ours, start, strict=True))


UPDATE = """
import sys, torch
from codeling.training.optimizer.optimizer import Optimizer
parameters = {name: torch.nn.Parameter(torch.ones(2, 2)) for name in ("wte.weight", "h.0.mlp")}
optimizer = Optimizer(parameters, adamw_lr=0.1, muon_lr=0.1, weight_decay=0.0)
for parameter in parameters.values():
    parameter.grad = torch.ones(2, 2)
optimizer.clip_gradients(1.0)
optimizer.step(1.0)
print(sorted({"torch._dynamo", "torch._inductor", "sympy"} & sys.modules.keys()))
"""


def test_an_update_needs_no_compiler() -> None:
    done = subprocess.run([sys.executable, "-c", UPDATE], capture_output=True, check=True)
    assert done.stdout == b"[]\n"
