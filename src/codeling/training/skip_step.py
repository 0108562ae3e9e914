"""Decides whether a step's update is applied: never for a loss or gradient that is not finite.

A skipped step leaves weights and optimizer unchanged; its tokens are used up. The number of
consecutive skipped steps is part of the training state, so a resumed run decides like an
uninterrupted one. This module must not know about tensors. Source: OLMo-core's
``SkipStepOptimizer`` (Ai2), which also skips spikes of loss and gradient norm; that changed nothing
in our runs.
"""

import math

from codeling.errors import TrainingError
from codeling.quantity import quantity

MAX_SKIPPED_STEPS = 3
"""Consecutive skipped steps after which a run is stopped, because it would not recover."""


def skip_reason(loss: float, gradient_norm: float) -> str | None:
    """Why a step must be skipped, or None.

    ``loss`` is in nats per token; ``gradient_norm`` is the norm before clipping.
    """
    if not math.isfinite(loss):
        return f"the loss is {loss}"
    if not math.isfinite(gradient_norm):
        return f"the gradient norm is {gradient_norm}"
    return None


def check_skipped(num_skipped: int, step: int) -> None:
    """Stop a run whose last ``num_skipped`` steps, up to ``step``, were skipped.

    :raises TrainingError: these are :data:`MAX_SKIPPED_STEPS` or more.
    """
    if num_skipped >= MAX_SKIPPED_STEPS:
        raise TrainingError(
            f"the loss was NaN or infinite for {quantity(num_skipped, 'consecutive step')} "
            f"(at step {step:,}); lower training.muon_lr and training.adamw_lr, or try "
            "training.precision=fp32"
        )
