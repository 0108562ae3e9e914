"""Claim: Muon multiplies in the type that is fast on this machine.

The orthogonalisation of a network's matrices in bf16, as ``torch.optim.Muon`` always has it, and
in fp32, in turns: matrices of the presets ``nano`` and ``mini``. Prints the median time of each and
how many times as long bf16 takes. Where that is emulated, ``training/step.py`` takes fp32.
Run:  python benchmarks/muon.py
"""

import statistics
import time

import torch

from codeling.training.machine import matrix_rate, multiplies_bf16, set_up
from codeling.training.muon import orthogonalised

ROUNDS = 3
SHAPES = ((16, 192, 192), (4, 192, 768), (4, 512, 512))
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def seconds(matrices: torch.Tensor) -> float:
    """Wall-clock of five steps of Newton and Schulz."""
    start = time.perf_counter()
    orthogonalised(matrices, COEFFICIENTS, 5, 1e-7)
    return time.perf_counter() - start


def main() -> None:
    """Measure every shape and print one line each."""
    machine = set_up("cpu")
    native = "native" if multiplies_bf16(machine.device) else "emulated"
    rate = matrix_rate(machine) / 1e9
    print(f"bf16 is {native}; {rate:.0f} GFLOP/s in {machine.dtype}, {machine.threads} threads")
    for shape in SHAPES:
        single = torch.randn(shape)
        half = single.bfloat16()
        seconds(single)
        pairs = [(seconds(single), seconds(half)) for _ in range(ROUNDS)]
        fp32, bf16 = (statistics.median(times) for times in zip(*pairs, strict=True))
        print(
            f"{shape}: fp32 {1e3 * fp32:.0f} ms, bf16 {1e3 * bf16:.0f} ms, {bf16 / fp32:.1f} times"
        )


if __name__ == "__main__":
    main()
