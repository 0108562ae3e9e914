"""Muon for many small matrices: matrices of one shape are orthogonalised in one batch.

``torch.optim.Muon`` runs five Newton-Schulz steps on one matrix at a time; in a small model these
products take a fifth of a training step or more. There are three differences here. Matrices of one
shape form a batch. Four steps bring the singular values as close to 1 as the usual five. In fp32, a
wide matrix is multiplied twice only, because the steps work on its square Gram matrix. The type of
the products is a parameter: torch always uses bf16, which is at least 40 times slower than fp32
where it is emulated. This module must not know which parameters there are. Source: Jordan et al.
2024 (Muon); Liu et al. 2025 (``match_rms_adamw``); Amsel et al. 2025, "The Polar Express" (the
polynomials).
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from codeling.training.optimizer.parameter_groups import ParameterGroups

POLYNOMIALS = (
    (8.2632, -23.5042, 16.7541),
    (4.0370, -2.8877, 0.5216),
    (3.6701, -2.6410, 0.4953),
    (2.7932, -2.0150, 0.4298),
)
"""Coefficients a, b, c of ``a x + b x³ + c x⁵``, one polynomial per step.

Each has the smallest maximal distance from 1 on the interval that the step before maps to, widened
by 2 % for rounding. The first interval is [0.002, 1], the last image [0.65, 1.35]."""


class BatchedMuon(ParameterGroups):
    """``torch.optim.Muon`` with Nesterov momentum and ``match_rms_adamw``, batched by shape."""

    def __init__(
        self,
        groups: Iterable[Mapping[str, Any]],
        *,
        lr: float,
        weight_decay: float,
        momentum: float = 0.95,
        eps: float = 1e-7,
        matmul_dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        """``matmul_dtype`` is the type of the orthogonalisation."""
        super().__init__(groups, lr=lr, weight_decay=weight_decay)
        self._momentum = momentum
        self._eps = eps
        self._matmul_dtype = matmul_dtype

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[parameter.shape].append(parameter)
            for shape, parameters in by_shape.items():
                momenta = [self._nesterov(parameter) for parameter in parameters]
                updates = orthogonalize(torch.stack(momenta).to(self._matmul_dtype), self._eps)
                rate = group["lr"] * 0.2 * math.sqrt(max(shape))
                torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(parameters, list(updates.float()), alpha=-rate)

    def _nesterov(self, parameter: Tensor) -> Tensor:
        """Update the moving average of the gradient and return the Nesterov update."""
        gradient = parameter.grad
        assert gradient is not None
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(
                gradient, memory_format=torch.contiguous_format
            )
        average = state["momentum_buffer"].lerp_(gradient, 1 - self._momentum)
        return gradient.lerp(average, self._momentum)


def orthogonalize(matrices: Tensor, eps: float) -> Tensor:
    """Move the singular values of ``matrices`` (N, A, B) towards 1; the type stays.

    Singular values below a thousandth of the largest stay below 0.65. Matrices with a norm below
    ``eps`` stay small.
    """
    is_tall = matrices.size(1) > matrices.size(2)
    x = (matrices.mT if is_tall else matrices).contiguous()
    x = x / torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True).clamp(min=eps)
    gram = torch.bmm(x, x.mT)
    # Its norm bounds the largest singular value more closely than the norm of the matrix does.
    norm = torch.linalg.vector_norm(gram, dim=(1, 2), keepdim=True).clamp(min=eps)
    gram, x = gram / norm, x / norm.sqrt()
    if x.size(1) < x.size(2) and x.dtype == torch.float32:  # bf16 loses small singular values
        x = torch.bmm(_combined_factor(gram), x)
    else:
        for number, (a, b, c) in enumerate(POLYNOMIALS):
            gram = torch.bmm(x, x.mT) if number else gram
            x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if is_tall else x


def _combined_factor(gram: Tensor) -> Tensor:
    """The matrix that all steps together multiply X by, given ``gram`` = X Xᵀ."""
    first, *others = POLYNOMIALS
    factor = combined = _factor(gram, *first)
    for polynomial in others:
        gram = torch.bmm(torch.bmm(factor, gram), factor)
        factor = _factor(gram, *polynomial)
        combined = torch.bmm(factor, combined)
    return combined


def _factor(gram: Tensor, a: float, b: float, c: float) -> Tensor:
    """The matrix that one step multiplies X by."""
    factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    factor.diagonal(dim1=1, dim2=2).add_(a)
    return factor
