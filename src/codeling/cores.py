"""How many cores this process may use. It must not know what for."""

import os


def usable_cores() -> int:
    """Cores that this process may run on; where that is not told (macOS), all there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
