"""The mean of the weights over the last steps of a run, in the place of the last weights.

Source: Sanyal et al. 2023, "Early Weight Averaging meets High Learning Rates for LLM
Pre-training". A rate that falls to zero does much of the same, so this is off by default.
"""

from collections.abc import Mapping

import torch
from torch import Tensor


class TailAverage:
    """A running mean of parameters; which steps are in it follows from the step alone."""

    def __init__(self, num_steps: int, share: float) -> None:
        """Averages over the last ``share`` of ``num_steps``; 0 averages nothing."""
        self.first_step = num_steps - round(num_steps * share) + 1
        """The first update whose weights count, from 1."""
        self.tensors: dict[str, Tensor] = {}

    @torch.no_grad()
    def include(self, step: int, parameters: Mapping[str, Tensor]) -> None:
        """Take in the weights after update ``step``, if they count."""
        if step < self.first_step:
            return
        if step == self.first_step:
            self.tensors = {name: value.detach().clone() for name, value in parameters.items()}
            return
        count = step - self.first_step + 1
        for name, value in parameters.items():
            mean = self.tensors[name]
            mean.add_((value.detach() - mean) / count)
