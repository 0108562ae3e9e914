"""Devices that models run on, by the names that torch gives them.

This module must not know models, and imports torch only when a device is looked for.
"""

import re
from typing import TYPE_CHECKING

from codeling.errors import UsageError

if TYPE_CHECKING:
    import torch

_NAME = re.compile(r"cpu|mps|cuda(?::(\d+))?")


def find_device(name: str) -> "torch.device":
    """The device called ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    :raises UsageError: the name is another one, or this machine has no such device.
    """
    match = _NAME.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        raise UsageError(f"device {name!r}: write auto, cpu, cuda, cuda:N or mps")
    import torch

    if name == "mps" and not torch.backends.mps.is_available():
        raise UsageError(f"device {name!r}: this machine has no Metal GPU; use auto or cpu")
    if name.startswith("cuda") and int(match[1] or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"device {name!r}: {torch.cuda.device_count()} CUDA devices here; use auto or cpu"
        )
    return torch.device(name)
