"""What a step descends on: the loss of some rows, with the options that a recipe can set.

A module of its own, so that whatever wraps a network for several processes sees one forward
pass from ids to loss. This module must not know where rows come from.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from codeling.model.gpt2 import GPT2


@dataclass(frozen=True)
class LossOptions:
    """What is computed besides the plain cross entropy; none of it by default."""

    z_loss: float = 0.0
    boundary: int | None = None
    """The id after which a document begins, where documents are to be isolated."""


class Objective(nn.Module):
    """A network and how it is trained."""

    def __init__(self, model: GPT2, options: LossOptions) -> None:
        super().__init__()
        self.model = model
        self.options = options

    def forward(self, ids: Tensor, sequence_weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Rows (B, T + 1) → what to descend on and nats per token, fp32 scalars.

        ``sequence_weights`` (B,) scale each row's share of the first.
        """
        inputs, targets = ids[:, :-1], ids[:, 1:]
        options = self.options
        if sequence_weights is None and not options.z_loss and options.boundary is None:
            loss = self.model.loss(inputs, targets)
            return loss, loss.detach()
        positions, segments = layout(inputs, options.boundary)
        return self.model.objective(
            inputs,
            targets,
            positions=positions,
            segments=segments,
            sequence_weights=sequence_weights,
            z_loss=options.z_loss,
        )


def layout(input_ids: Tensor, boundary: int | None) -> tuple[Tensor | None, Tensor | None]:
    """Positions and segments (B, T) of documents that begin at each ``boundary``.

    The boundary is the first id of the document after it, as it is of a prompt. None and None
    where there is no boundary.
    """
    if boundary is None:
        return None, None
    starts = input_ids == boundary
    places = torch.arange(input_ids.size(1), device=input_ids.device).expand_as(input_ids)
    begun = torch.where(starts, places, torch.zeros_like(places)).cummax(dim=1).values
    return places - begun, starts.cumsum(dim=1)
