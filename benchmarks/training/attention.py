"""Claim: on a processor, training attention in blocks beats PyTorch's fused kernel.

Forward and backward of both ways on the same input, alternating; prints the median time of
each, the median of the pairwise ratios, and how close each comes to the rate of a plain matrix
product on this machine. Run:  python -m benchmarks.training.attention
"""

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from codeling.model.attention import causal_attention, split_heads
from codeling.training.machine import matrix_rate, set_up

ROUNDS = 9
SHAPES = ((32, 256, 4, 64), (16, 512, 4, 64), (8, 1024, 12, 64))


def fused_kernel(fused: Tensor, n_head: int) -> Tensor:
    """PyTorch's own, (B, T, 3 C) → (B, T, C)."""
    rows, length, width = fused.shape
    query, key, value = split_heads(fused, n_head)
    y = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    return y.transpose(1, 2).reshape(rows, length, width // 3)


def seconds(attention: Callable[[Tensor, int], Tensor], fused: Tensor, n_head: int) -> float:
    """Wall-clock of one forward and backward pass."""
    start = time.perf_counter()
    output = attention(fused, n_head)
    output.backward(torch.ones_like(output))  # type: ignore[no-untyped-call]
    fused.grad = None
    return time.perf_counter() - start


def main() -> None:
    """Measure every shape and print one line each."""
    machine = set_up("cpu")
    peak = matrix_rate(machine, seconds=1.0)
    print(f"matrix product: {peak / 1e9:.0f} GFLOP/s in {machine.dtype}, {machine.threads} threads")
    for rows, length, n_head, head_dim in SHAPES:
        width = n_head * head_dim
        fused = torch.randn(rows, length, 3 * width).to(machine.dtype).requires_grad_()
        flops = 6 * rows * length**2 * width  # causal half, forward 2, backward 4
        for way in (causal_attention, fused_kernel):
            seconds(way, fused, n_head)
        pairs = [
            (seconds(causal_attention, fused, n_head), seconds(fused_kernel, fused, n_head))
            for _ in range(ROUNDS)
        ]
        ours, theirs = (statistics.median(times) for times in zip(*pairs, strict=True))
        ratio = statistics.median(b / a for a, b in pairs)
        print(
            f"{(rows, length, n_head, head_dim)}: blocks {1e3 * ours:.1f} ms "
            f"({flops / ours / peak:.0%} of the matrix rate), kernel {1e3 * theirs:.1f} ms "
            f"({flops / theirs / peak:.0%}), {ratio:.2f} times as fast"
        )


if __name__ == "__main__":
    main()
