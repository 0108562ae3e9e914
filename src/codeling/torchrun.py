"""The roles of the processes that ``torchrun`` starts: rank 0 leads, the others only train.

The leading process runs all stages. The others wait for its signal and then take part in the
training stage. This module must not know what the stages do.
"""

import os
from collections.abc import Callable
from typing import Literal

Signal = Literal["training", "no training"]


def is_follower() -> bool:
    """Whether ``torchrun`` started this process with a rank above 0."""
    return int(os.environ.get("RANK", "0")) > 0


def signal_followers(signal: Signal) -> None:
    """Send ``signal`` to the followers, if there are any. Only the first signal counts."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from codeling.training.distributed.process_group import signal as send

        send(signal)


def follow(train: Callable[[], object]) -> None:
    """Wait for the leading process, and call ``train`` if it trains."""
    from codeling.training.distributed.process_group import wait

    if wait() == "training":
        train()


def leave_group() -> None:
    """Leave the process group. Later stages run in the leading process alone."""
    from codeling.training.distributed.process_group import leave

    leave()
