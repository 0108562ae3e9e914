"""Muon for many small matrices: those of one shape are orthogonalised in one batch.

``torch.optim.Muon`` takes a matrix at a time, and in a small network its many short products cost a
fifth of a step; in batches they take two thirds of that. What is computed is the same, but for the
order of sums within a product. And its products are in bf16 whatever the processor: where that
is emulated they take 40 times as long as in fp32 and more, so the type is the caller's to choose.
Source: Jordan et al. 2024 (Muon); Liu et al. 2025 (``match_rms_adamw``). This module must not know
which parameters there are.
"""

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class BatchedMuon(torch.optim.Muon):
    """``torch.optim.Muon`` with Nesterov's momentum and ``match_rms_adamw``, by shapes."""

    def __init__(
        self, params: Any, *, products: torch.dtype = torch.bfloat16, **settings: Any
    ) -> None:
        """``products``: the type of the orthogonalisation; ``settings`` as torch's Muon has."""
        super().__init__(params, **settings)
        self._products = products

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient; ``closure`` must be None."""
        assert closure is None, "there is nothing to evaluate again"
        for group in self.param_groups:
            assert group["adjust_lr_fn"] == "match_rms_adamw", "no other scale is known here"
            assert group["nesterov"], "the update is the gradient ahead of its average"
            by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[parameter.shape].append(parameter)
            for shape, parameters in by_shape.items():
                momenta = [self._momentum(each, group["momentum"]) for each in parameters]
                updates = orthogonalised(
                    torch.stack(momenta).to(self._products),
                    group["ns_coefficients"],
                    group["ns_steps"],
                    group["eps"],
                )
                rate = group["lr"] * 0.2 * math.sqrt(max(shape))
                torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(parameters, list(updates.float()), alpha=-rate)

    def _momentum(self, parameter: Tensor, momentum: float) -> Tensor:
        """The gradient ahead of its moving average, which is brought up to date."""
        gradient = parameter.grad
        assert gradient is not None
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(
                gradient, memory_format=torch.contiguous_format
            )
        average = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        return gradient.lerp(average, momentum)


def orthogonalised(
    matrices: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float
) -> Tensor:
    """Matrices (N, A, B) with singular values drawn to 1 by Newton and Schulz, in their type."""
    a, b, c = coefficients
    is_tall = matrices.size(1) > matrices.size(2)
    x = (matrices.mT if is_tall else matrices).contiguous()
    x = x / torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True).clamp(min=eps)
    for _ in range(steps):
        gram = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if is_tall else x
