"""Wall-clock time of a call."""

import time
from collections.abc import Callable


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
