"""The number of processor cores."""

import os


def use_one_blas_thread() -> None:
    """Keep numpy from starting OpenBLAS threads, which costs 0.1 s of processor time.

    For commands that multiply no large matrices with numpy; has no effect after numpy's import.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def usable_cores() -> int:
    """Number of cores that this process may use; all cores on macOS and Windows."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
