"""Causal self-attention over whole sequences, with the fastest exact implementation per device.

On an accelerator, and wherever no gradient is needed, that is PyTorch's
``scaled_dot_product_attention``. Training on a CPU uses blocks of queries against all earlier keys:
plain matrix products and one softmax per block. At (16, 512, 4, 64) in bf16 on two AVX-512 cores
this takes 44 ms forward and backward, PyTorch's kernel 107 ms, because matrix products run at the
full rate of the CPU and the kernel's inner loops do not. ``benchmarks/training/attention.py``
measures both. This module must not know about caches.

Shapes: B sequences, T positions, C width, H heads, D = C / H.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

BLOCK = 128
"""Queries per block; 64 and 256 take 6 % longer."""


def causal_attention(fused: Tensor, n_head: int, segments: Tensor | None = None) -> Tensor:
    """Fused query, key and value (B, T, 3 C) → (B, T, C).

    With ``segments`` (B, T) a position attends only to positions of the same segment.
    """
    if segments is not None:
        return _within_segments(fused, n_head, segments)
    if fused.device.type == "cpu" and torch.is_grad_enabled() and fused.requires_grad:
        return _BlockedAttention.apply(fused, n_head)  # type: ignore[no-any-return,no-untyped-call]
    rows, length, width = fused.shape
    query, key, value = split_heads(fused, n_head)
    y = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    return y.transpose(1, 2).reshape(rows, length, width // 3)


def _within_segments(fused: Tensor, n_head: int, segments: Tensor) -> Tensor:
    """PyTorch's kernel with a mask; on a CPU about half as fast."""
    rows, length, width = fused.shape
    query, key, value = split_heads(fused, n_head)
    mask = (segments.unsqueeze(2) == segments.unsqueeze(1)).tril_().unsqueeze(1)
    y = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return y.transpose(1, 2).reshape(rows, length, width // 3)


def split_heads(fused: Tensor, n_head: int) -> Tensor:
    """(B, T, 3 C) → (3, B, H, T, D), a view."""
    rows, length, width = fused.shape
    return fused.view(rows, length, 3, n_head, width // 3 // n_head).permute(2, 0, 3, 1, 4)


class _BlockedAttention(torch.autograd.Function):
    """Softmax attention in blocks of queries. Keeps the probabilities for the backward pass."""

    @staticmethod
    def forward(ctx: Any, fused: Tensor, n_head: int) -> Tensor:
        rows, length, width = fused.shape
        head_dim = width // 3 // n_head
        query, key, value = split_heads(fused, n_head).reshape(3, rows * n_head, length, head_dim)
        query = query * head_dim**-0.5
        future = fused.new_full((BLOCK, BLOCK), float("-inf")).triu_(1)
        output = torch.empty_like(query)
        blocks = []
        for start in range(0, length, BLOCK):
            stop = min(start + BLOCK, length)
            scores = torch.bmm(query[:, start:stop], key[:, :stop].transpose(1, 2))
            scores[:, :, start:] += future[: stop - start, : stop - start]
            probabilities = torch.softmax(scores, -1)
            output[:, start:stop] = torch.bmm(probabilities, value[:, :stop])
            blocks.append(probabilities)
        ctx.save_for_backward(query, key, value, *blocks)
        ctx.n_head = n_head
        heads = output.view(rows, n_head, length, head_dim)
        return heads.transpose(1, 2).reshape(rows, length, width // 3)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        query, key, value, *blocks = ctx.saved_tensors
        both, length, head_dim = query.shape
        rows = both // ctx.n_head
        (gradient,) = gradients
        heads = gradient.view(rows, length, ctx.n_head, head_dim)
        gradient = heads.transpose(1, 2).reshape(both, length, head_dim)
        to_input = torch.zeros(3, both, length, head_dim, dtype=query.dtype)
        to_query, to_key, to_value = to_input
        for number, probabilities in enumerate(blocks):
            start = number * BLOCK
            stop = start + probabilities.size(1)
            block = gradient[:, start:stop]
            to_probabilities = torch.bmm(block, value[:, :stop].transpose(1, 2))
            to_scores = torch._softmax_backward_data(
                to_probabilities, probabilities, -1, probabilities.dtype
            )
            to_query[:, start:stop] = torch.bmm(to_scores, key[:, :stop])
            to_key[:, :stop] += torch.bmm(to_scores.transpose(1, 2), query[:, start:stop])
            to_value[:, :stop] += torch.bmm(probabilities.transpose(1, 2), block)
        to_query *= head_dim**-0.5
        folded = to_input.view(3, rows, ctx.n_head, length, head_dim)
        return folded.permute(1, 3, 0, 2, 4).reshape(rows, length, -1), None
