"""Whether a step's update is taken: never for a loss that is no number, on request not for a spike.

A step that is left out leaves weights and optimizer as they are and costs its tokens. What was
seen is part of the state, so that a run that was stopped decides as one that was not. This
module must not know about tensors. Source of the rule for spikes, its window and its six
deviations: OLMo-core's ``SkipStepOptimizer`` (Ai2); there a spike of the gradient counts too.
"""

import math
import statistics
from dataclasses import dataclass, replace

from codeling.errors import TrainingError

WINDOW = 128
"""Losses that a spike is measured against, the last ones that were numbers."""
ENOUGH = WINDOW // 2
"""Fewer of them say nothing about spikes."""
MAX_BAD_STEPS = 3
"""Steps in a row without a number after which a run does not come back by itself."""


@dataclass(frozen=True)
class Seen:
    """What the decisions depend on."""

    bad_steps: int = 0
    """Steps in a row, up to now, whose loss or gradient was no number."""
    losses: tuple[float, ...] = ()
    """The last :data:`WINDOW` losses; kept where spikes are looked for."""


NOTHING = Seen()


def judge(
    seen: Seen, loss: float, norm: float, spike_sigma: float | None
) -> tuple[Seen, str | None]:
    """What has been seen now, and why this step is left out; None where it is taken.

    ``loss`` in nats per token, ``norm`` the gradient's before clipping.
    """
    if not math.isfinite(loss):
        return replace(seen, bad_steps=seen.bad_steps + 1), f"the loss is {loss}"
    if not math.isfinite(norm):
        return replace(seen, bad_steps=seen.bad_steps + 1), f"the gradient's norm is {norm}"
    if spike_sigma is None:
        return Seen(), None
    now = Seen(losses=(*seen.losses, loss)[-WINDOW:])
    if len(seen.losses) < ENOUGH:
        return now, None
    mean, deviation = statistics.fmean(seen.losses), statistics.stdev(seen.losses)
    if loss <= mean + spike_sigma * deviation:
        return now, None
    return now, f"the loss is {loss:.3f}, a spike over {mean:.3f} ± {deviation:.3f}"


def give_up(seen: Seen, step: int) -> None:
    """Stop a run whose steps are no numbers any more.

    :raises TrainingError: the last :data:`MAX_BAD_STEPS` up to ``step`` were none.
    """
    if seen.bad_steps >= MAX_BAD_STEPS:
        raise TrainingError(
            f"the loss was no number in {MAX_BAD_STEPS} steps in a row (at step {step:,}); lower "
            "training.muon_lr and training.adamw_lr, or try training.precision=fp32"
        )
