"""Parameters with their settings and buffers, as ``torch.optim.Optimizer`` keeps them.

The constructor of torch's class imports ``torch._dynamo``, which takes as long as the import of
torch itself. This module must not know update rules.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor


class ParameterGroups:
    """Groups of parameters, each with its settings; base class of the update rules."""

    def __init__(
        self, groups: Iterable[Mapping[str, Any]], *, lr: float, weight_decay: float
    ) -> None:
        """A group has ``params`` and may have settings of its own."""
        self.param_groups: list[dict[str, Any]] = [
            {"lr": lr, "weight_decay": weight_decay, **group, "params": list(group["params"])}
            for group in groups
        ]
        self.state: defaultdict[Tensor, dict[str, Tensor]] = defaultdict(dict)
        """Buffers of each parameter; empty before its first update."""
