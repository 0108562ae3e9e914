"""The wall clock of a training, over all the processes that continued it."""

import time


def now() -> float:
    """Seconds from an arbitrary origin; the only clock that training reads."""
    return time.perf_counter()


class Stopwatch:
    """Seconds that a training has taken so far."""

    def __init__(self) -> None:
        self._origin = now()

    def add(self, seconds: float) -> None:
        """Add the ``seconds`` that earlier processes spent on the same run."""
        self._origin -= seconds

    def seconds(self) -> float:
        """Seconds since the run began, without the time between two processes."""
        return now() - self._origin
