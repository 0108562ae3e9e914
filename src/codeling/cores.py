"""The number of processor cores."""

import os


def usable_cores() -> int:
    """Number of cores that this process may use; all cores on macOS and Windows."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
