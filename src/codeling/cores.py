"""The number of processor cores."""

import os


def start_no_blas_threads() -> None:
    """Keep numpy from starting threads of OpenBLAS, which take 0.1 s of processor time.

    Called before numpy is imported, where no large matrices are multiplied with it.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def usable_cores() -> int:
    """Number of cores that this process may use; all cores on macOS and Windows."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
