"""The machine's device, precision and memory allocator, and its rate of matrix products.

Nothing here depends on a model.
"""

import ctypes
import os
import sys
import time
from dataclasses import dataclass
from functools import cache

import torch

from codeling.cores import usable_cores
from codeling.model.device import find_device

_KEEP_FREED_MEMORY = {-3: 1 << 25, -1: (1 << 31) - 1, -2: 1 << 28, -4: 0}
"""glibc's ``mallopt``: M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX. A training step
frees and allocates the same large buffers repeatedly. By default, glibc returns them to the kernel
each time; the page faults that follow take a quarter of a step."""


@dataclass(frozen=True)
class Machine:
    """Device and precision of a run."""

    device: torch.device
    dtype: torch.dtype
    """Type of the forward and backward pass."""
    threads: int

    @property
    def is_emulated(self) -> bool:
        """Whether matrix products in :attr:`dtype` are emulated.

        On a processor without bf16 they are at least 40 times slower than in fp32.
        """
        return self.dtype == torch.bfloat16 and not multiplies_bf16(self.device)


def set_up(device: str = "auto", precision: str = "auto", threads: int | None = None) -> Machine:
    """Choose and prepare the device for training in this process.

    :raises UsageError: the requested device does not exist.
    """
    chosen = choose_device(device)
    count = threads or _default_threads()
    torch.set_num_threads(count)
    torch.set_flush_denormal(True)
    if chosen.type == "cuda":
        torch.set_float32_matmul_precision("high")
    elif sys.platform == "linux":
        _keep_freed_memory()
    types = {"auto": native_dtype(chosen), "bf16": torch.bfloat16, "fp32": torch.float32}
    return Machine(chosen, types[precision], count)


def _default_threads() -> int:
    """Every core; several processes of ``torchrun`` share them. ``OMP_NUM_THREADS`` overrides it.

    ``torchrun`` sets that variable to 1 for several processes, so it is read only for a single one.
    """
    num_processes = _torchrun_variable("LOCAL_WORLD_SIZE", 1)
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if num_processes == 1 and wanted.isdecimal() and int(wanted):
        return int(wanted)
    return max(1, usable_cores() // num_processes)


def choose_device(name: str) -> torch.device:
    """Return the device called ``name``; ``auto`` is a CUDA device if there is one, else the CPU.

    ``cuda`` is the first CUDA device; under ``torchrun`` each process has its own. ``mps`` is the
    GPU of a Mac; ``auto`` never chooses it, because its speed has not been measured.

    :raises UsageError: the device does not exist.
    """
    own = _torchrun_variable("LOCAL_RANK", 0)
    if name == "auto":
        return torch.device("cuda", own) if torch.cuda.is_available() else torch.device("cpu")
    return find_device(f"cuda:{own}" if name == "cuda" else name)


def multiplies_bf16(device: torch.device) -> bool:
    """Whether ``device`` multiplies bf16 matrices natively, and so faster than fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "mps":
        return False
    return bool(processor_features() & {"amx_bf16", "avx512_bf16"})


def native_dtype(device: torch.device) -> torch.dtype:
    """The faster type of matrix products on ``device``: bf16 if it is native, else fp32."""
    return torch.bfloat16 if multiplies_bf16(device) else torch.float32


def processor_features() -> frozenset[str]:
    """The processor's instruction sets, as PyTorch detects them on any operating system."""
    capabilities = torch.cpu.get_capabilities()
    return frozenset(name for name, value in capabilities.items() if value is True)


def sequences_per_pass(requested: int | None, num_sequences: int, context_length: int) -> int:
    """Micro-batch size for a step of ``num_sequences``.

    The ``requested`` size, or 32,768 tokens: a processor is no faster with more; an H200 is 3 %
    faster with twice as many (``small``), for 9 GiB more memory.
    """
    return min(num_sequences, requested or max(1, 32_768 // context_length))


def _torchrun_variable(name: str, default: int) -> int:
    """An integer that ``torchrun`` sets in the environment of its processes."""
    return int(os.environ.get(name, default))


@cache
def matrix_rate(machine: Machine, seconds: float = 0.3) -> float:
    """Measure the floating-point operations per second of a large square matrix product.

    Measured once per process.
    """
    size = 8192 if machine.device.type == "cuda" else 2048
    a = torch.randn(size, size, device=machine.device).to(machine.dtype)
    for _ in range(2):
        a @ a
    wait_for(machine.device)
    best, deadline, now = float("inf"), time.perf_counter() + seconds, 0.0
    while now < deadline:
        start = time.perf_counter()
        a @ a
        wait_for(machine.device)
        now = time.perf_counter()
        best = min(best, now - start)
    return 2 * size**3 / best


def wait_for(device: torch.device) -> None:
    """Wait until ``device`` has finished its work; a processor has none pending."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _keep_freed_memory() -> None:
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # not glibc
        return
    for parameter, value in _KEEP_FREED_MEMORY.items():
        mallopt(parameter, value)
