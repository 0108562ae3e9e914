"""Muon for many small matrices: those of one shape are orthogonalised in one batch.

``torch.optim.Muon`` takes a matrix at a time through five steps of Newton and Schulz, and in a
small network their many short products cost a fifth of a training step and more. Here they are
batches, four steps bring singular values as near to 1 as those five, and a matrix that is wider
than high is multiplied twice: all between is done on its square product with itself. And torch's
products are in bf16 whatever the processor: where that is emulated they take 40 times as long as
in fp32 and more, so the type is the caller's to choose. Source: Jordan et al. 2024 (Muon); Liu et
al. 2025 (``match_rms_adamw``); Amsel et al. 2025, "The Polar Express" (the polynomials). This
module must not know which parameters there are.
"""

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

POLYNOMIALS = (
    (8.2632, -23.5042, 16.7541),
    (4.0370, -2.8877, 0.5216),
    (3.6701, -2.6410, 0.4953),
    (2.7932, -2.0150, 0.4298),
)
"""Of each step a, b, c in ``a x + b x³ + c x⁵``, which of all such is never further from 1 than it
has to be on what the step before left of [0.002, 1], 2 % more for rounding: [0.65, 1.35] at the
end."""


class BatchedMuon(torch.optim.Muon):
    """``torch.optim.Muon`` with Nesterov's momentum and ``match_rms_adamw``, by shapes."""

    def __init__(
        self, params: Any, *, products: torch.dtype = torch.bfloat16, **settings: Any
    ) -> None:
        """``products``: the type of the orthogonalisation; ``settings`` as torch's Muon has, of
        which those of Newton and Schulz are not read.
        """
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
                updates = orthogonalised(torch.stack(momenta).to(self._products), group["eps"])
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


def orthogonalised(matrices: Tensor, eps: float) -> Tensor:
    """Matrices (N, A, B) with singular values drawn to 1 by :data:`POLYNOMIALS`, in their type.

    Of the largest those below 0.001 stay below 0.65. Matrices of a norm below ``eps`` stay small.
    """
    is_tall = matrices.size(1) > matrices.size(2)
    x = (matrices.mT if is_tall else matrices).contiguous()
    x = x / torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True).clamp(min=eps)
    gram = torch.bmm(x, x.mT)
    # Its norm is a nearer bound of the largest singular value than that of the matrix.
    norm = torch.linalg.vector_norm(gram, dim=(1, 2), keepdim=True).clamp(min=eps)
    gram, x = gram / norm, x / norm.sqrt()
    if x.size(1) < x.size(2) and x.dtype == torch.float32:  # bf16 loses the small ones
        x = torch.bmm(_product(gram), x)
    else:
        for number, (a, b, c) in enumerate(POLYNOMIALS):
            gram = torch.bmm(x, x.mT) if number else gram
            x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if is_tall else x


def _product(gram: Tensor) -> Tensor:
    """What all steps together multiply a matrix by whose product with itself is ``gram``."""
    first, *others = POLYNOMIALS
    factor = whole = _factor(gram, *first)
    for polynomial in others:
        gram = torch.bmm(torch.bmm(factor, gram), factor)
        factor = _factor(gram, *polynomial)
        whole = torch.bmm(factor, whole)
    return whole


def _factor(gram: Tensor, a: float, b: float, c: float) -> Tensor:
    """What one step multiplies by."""
    factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    factor.diagonal(dim1=1, dim2=2).add_(a)
    return factor
