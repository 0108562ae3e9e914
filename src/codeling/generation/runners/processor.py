"""The processor's instruction sets, and tiles of the kernels that fit its registers.

This module must not know numba, so that compiled kernels run without it.
"""

import os

import llvmlite.binding as llvm

LANES = 16
"""Numbers in a vector. LLVM divides it into the registers of the processor."""
GROUP = 64
"""Activations that share a scale when they are quantized."""
OUTPUTS = 64
"""The number of outputs of a linear layer is a multiple of this."""


def _features() -> set[str]:
    """Instruction sets of the processor that code is compiled for, as LLVM names them."""
    if chosen := os.environ.get("NUMBA_CPU_FEATURES"):
        return {name[1:] for name in chosen.split(",") if name.startswith("+")}
    return {name for name, present in llvm.get_host_cpu_features().items() if present}


FEATURES = _features()
TILE_ROWS = 8 if "avx512f" in FEATURES else 6
"""Tokens computed together, with :data:`TILE_BLOCKS` as many as there are registers for."""
TILE_BLOCKS = 2 if "avx512f" in FEATURES else 1
"""Blocks of ``LANES`` outputs computed together. With one, 512-bit sums wait for loads."""


class DotInstruction:
    """The dot product of ``size`` neighbouring int8 numbers in each of the lanes."""

    def __init__(self, features: set[str]) -> None:
        """Choose the best instruction of a processor with ``features``."""
        self.name, self.size, self.width = "multiply", 2, 0
        if {"avx512vnni", "avx512f"} <= features:
            self.name, self.size, self.width = "llvm.x86.avx512.vpdpbusd.512", 4, 512
        elif "avxvnni" in features:
            self.name, self.size, self.width = "llvm.x86.avx512.vpdpbusd.256", 4, 256
        elif "avx2" in features:
            self.name = "llvm.x86.avx2.pmadd.wd"

    @property
    def activation_bits(self) -> int:
        """Bits in which a quantized activation is stored: four or two make 32 bits."""
        return 32 // self.size


DOT = DotInstruction(FEATURES)
