"""On a processor, training attention in blocks is faster than PyTorch's fused kernel.

Runs forward and backward of both implementations on the same input, alternating. Prints the median
time of each, its share of the rate of a plain matrix product on this machine, and the median of the
pairwise ratios.

    python -m benchmarks.training.attention
"""

import argparse
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
"""(B, T, heads, width of a head)."""


def fused_kernel(fused: Tensor, n_head: int) -> Tensor:
    """PyTorch's implementation, (B, T, 3 C) → (B, T, C)."""
    rows, length, width = fused.shape
    query, key, value = split_heads(fused, n_head)
    y = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    return y.transpose(1, 2).reshape(rows, length, width // 3)


def seconds(attention: Callable[[Tensor, int], Tensor], fused: Tensor, n_head: int) -> float:
    """Wall-clock time of one forward and backward pass."""
    start = time.perf_counter()
    output = attention(fused, n_head)
    output.backward(torch.ones_like(output))  # type: ignore[no-untyped-call]
    fused.grad = None
    return time.perf_counter() - start


def main() -> None:
    """Measure every shape and print one line for each."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    machine = set_up("cpu")
    peak = matrix_rate(machine, seconds=1.0)
    print(f"matrix product: {peak / 1e9:.0f} GFLOP/s in {machine.dtype}, {machine.threads} threads")
    for rows, length, n_head, head_dim in SHAPES:
        width = n_head * head_dim
        fused = torch.randn(rows, length, 3 * width).to(machine.dtype).requires_grad_()
        flops = 6 * rows * length**2 * width  # the causal half; forward 2, backward 4
        for attention in (causal_attention, fused_kernel):
            seconds(attention, fused, n_head)
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
