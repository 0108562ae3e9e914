"""The training objective: from token ids to the loss, with the options of the recipe.

It is an ``nn.Module``, so that the wrapper for several processes sees one forward pass from ids to
loss. This module must not know where sequences come from.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from codeling.model.gpt2 import GPT2


@dataclass(frozen=True)
class LossOptions:
    """Additions to the plain cross entropy; the defaults add nothing."""

    z_loss: float = 0.0
    """Weight of the squared log-partition function."""
    boundary: int | None = None
    """Id that starts a document, for attention within documents only; None: no document masking."""


class Objective(nn.Module):
    """A model with its loss."""

    def __init__(self, model: GPT2, options: LossOptions) -> None:
        super().__init__()
        self.model = model
        self.options = options

    def forward(self, ids: Tensor, sequence_weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the objective to minimise and the nats per token of ``ids`` (B, T + 1).

        Both are fp32 scalars. ``sequence_weights`` (B,) scale the loss of each sequence in the
        objective only.
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
    """Positions and segment numbers (B, T) of ``input_ids`` (B, T); both None without a boundary.

    A document starts with its ``boundary``, as a prompt does; its positions start at zero there.
    """
    if boundary is None:
        return None, None
    starts = input_ids == boundary
    indices = torch.arange(input_ids.size(1), device=input_ids.device).expand_as(input_ids)
    document_starts = torch.where(starts, indices, 0).cummax(dim=1).values
    return indices - document_starts, starts.cumsum(dim=1)
