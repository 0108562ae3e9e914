"""What this machine can do for training, and how it is set up for it.

Device and precision, the memory allocator, the rate of a matrix product. Nothing in here
depends on a model.
"""

import ctypes
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from codeling.cores import usable_cores
from codeling.errors import UsageError

_KEEP_FREED_MEMORY = {-3: 1 << 25, -1: (1 << 31) - 1, -2: 1 << 28, -4: 0}
"""glibc's ``mallopt``: M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX. A training step
frees and asks for the same large buffers again and again; by default glibc gives them back to
the kernel each time and pays for every page anew, a quarter of the step."""


@dataclass(frozen=True)
class Machine:
    """Where and how a run computes."""

    device: torch.device
    dtype: torch.dtype
    """Of the forward and backward pass."""
    threads: int

    @property
    def is_emulated(self) -> bool:
        """Whether matrix products in :attr:`dtype` are not native: on a processor without
        bf16, 40 times as slow as in fp32 and more.
        """
        return self.dtype == torch.bfloat16 and not multiplies_bf16(self.device)


def set_up(device: str = "auto", precision: str = "auto", threads: int | None = None) -> Machine:
    """Choose and prepare the device for training in this process.

    :raises UsageError: the device asked for is not there.
    """
    chosen = choose_device(device)
    count = threads or max(1, usable_cores() // _of_torchrun("LOCAL_WORLD_SIZE", 1))
    torch.set_num_threads(count)
    torch.set_flush_denormal(True)
    if chosen.type == "cuda":
        torch.set_float32_matmul_precision("high")
    elif sys.platform == "linux":
        _keep_freed_memory()
    types = {"auto": native_dtype(chosen), "bf16": torch.bfloat16, "fp32": torch.float32}
    return Machine(chosen, types[precision], count)


def choose_device(name: str) -> torch.device:
    """The device called ``name``; ``auto`` is a CUDA device, or the processor.

    Of several CUDA devices the first, or under ``torchrun`` one of its own for each process.

    :raises UsageError: there is no such device.
    """
    own = _of_torchrun("LOCAL_RANK", 0)
    if name == "auto":
        return torch.device("cuda", own) if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"device {name!r}: write auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"device {name!r}: write auto, cpu, cuda or cuda:N")
    if name == "cuda":
        device = torch.device("cuda", own)
    if device.type == "cuda" and device.index >= torch.cuda.device_count():
        raise UsageError(
            f"device {name!r}: {torch.cuda.device_count()} CUDA devices here; try --set "
            "training.device=auto"
        )
    return device


def multiplies_bf16(device: torch.device) -> bool:
    """Whether bf16 matrix products run natively there: faster than fp32, not emulated."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(processor_features() & {"amx_bf16", "avx512_bf16"})


def native_dtype(device: torch.device) -> torch.dtype:
    """The faster type of matrix products there: bf16 where it is native, else fp32."""
    return torch.bfloat16 if multiplies_bf16(device) else torch.float32


def processor_features() -> frozenset[str]:
    """The processor's instruction sets as Linux names them; empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def rows_at_once(asked: int | None, rows: int, context_length: int) -> int:
    """Rows of one forward and backward pass, of the ``rows`` of a step.

    As many as ``asked``; else 32,768 tokens, which a processor is no faster for exceeding, and an
    H200 by 3 % for twice as many (``small``), with 9 GiB more memory.
    """
    return min(rows, asked or max(1, 32_768 // context_length))


def _of_torchrun(name: str, default: int) -> int:
    """A number that ``torchrun`` tells its processes."""
    return int(os.environ.get(name, default))


def matrix_rate(machine: Machine, seconds: float = 0.3) -> float:
    """Floating-point operations per second of a large square matrix product, measured now."""
    size = 2048 if machine.device.type == "cpu" else 8192
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
    """Until what was asked of it is done; a processor has done it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _keep_freed_memory() -> None:
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library: nothing to set
        return
    for parameter, value in _KEEP_FREED_MEMORY.items():
        mallopt(parameter, value)
