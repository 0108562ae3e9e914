"""Ctrl-C and SIGTERM, turned into a request to stop.

Training looks at the request between two steps, saves, and leaves. Any other stage is left at
once: what it had not finished is done again, and nothing half-written is taken for whole.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from codeling.run import StopRequest

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """A request that the signals set; where nobody looks at it, ``KeyboardInterrupt`` is raised.

    A second signal always raises.
    """
    stop = StopRequest()

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.requested or not stop.patient:
            raise KeyboardInterrupt
        stop.requested = True

    before = {number: signal.signal(number, ask) for number in _SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
