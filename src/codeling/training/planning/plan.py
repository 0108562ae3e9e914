"""The plan of a run: how many steps, of how many tokens, in passes of which size.

The number of steps is the recipe's; if the recipe gives minutes, a few updates and a validation are
measured on this machine, and the number of steps that fits is planned. All processes plan together
and get the same result. This module must not know about files or about what is done with the plan.
"""

from collections.abc import Callable
from contextlib import suppress

import numpy as np
import torch
from numpy.typing import NDArray

from codeling.errors import TrainingError
from codeling.quantity import quantity
from codeling.recipe import TrainingRecipe
from codeling.training import clock, skip_step
from codeling.training.checkpoint.state import Plan
from codeling.training.clock import Stopwatch
from codeling.training.machine import matrix_rate, sequences_per_pass
from codeling.training.schedule import Schedule, requested_steps
from codeling.training.train_module import TrainModule

MIN_USEFUL_STEPS = 20
"""Shorter runs get a warning: one step in twenty is warm-up, so fewer have no schedule."""

_CALIBRATION_STEPS = 4
"""Smallest number of steps that are measured for the plan."""
_CALIBRATION_SHARE = 0.03
"""Smallest share of the minutes that is measured: processors are fast for the first seconds."""

_CALIBRATION_FRACTION = 0.1
"""Share of the peak rates. Weights that start at zero must not stay zero: products with zeros
take an accelerator less power, and its clock would be a tenth higher than in training."""

_MAX_VALIDATION_TOKENS, _MIN_VALIDATION_TOKENS = 32_768, 2_048
"""One validation reads a hundredth of the run's tokens, within these limits. Ten validations, which
have no backward pass, then take a thirtieth of the run's time."""


def validation_tokens(recipe: TrainingRecipe, num_tokens: int) -> int:
    """Tokens of one validation in a run of ``num_tokens``."""
    usual = max(_MIN_VALIDATION_TOKENS, min(_MAX_VALIDATION_TOKENS, num_tokens // 100))
    return recipe.validation_tokens or usual


def make_plan(
    module: TrainModule,
    sequences: Callable[[int], NDArray[np.int64]],
    validate: Callable[[int, int], object],
    note: Callable[[str], None],
    should_stop: Callable[[], bool],
    stopwatch: Stopwatch,
) -> Plan:
    """Plan the run of ``module``, whose recipe is resolved. ``module`` must not be used afterwards.

    ``sequences`` returns a number of sequences to measure with; ``validate`` is called with the
    micro-batch size and a number of tokens. ``stopwatch`` holds the time used so far.

    :raises TrainingError: a single sequence does not fit into the accelerator's memory.
    """
    recipe, world = module.recipe, module.world
    assert recipe.tokens_per_step is not None, "a resolved recipe"
    context = module.config.context_length
    count = recipe.tokens_per_step // context
    size = sequences_per_pass(recipe.micro_batch_size, count, context)
    rate = world.broadcast(lambda: matrix_rate(module.machine))
    if module.machine.device.type == "cuda" and world.size == 1:
        size = _micro_batch_that_fits(module, sequences(size), note)
    num_steps = requested_steps(recipe, recipe.tokens_per_step)
    if num_steps is None:
        note("measuring this machine's rate for the plan")
        seconds = _seconds_per_step(module, sequences(count), size, should_stop)
        start = clock.now()
        measured = -(-(recipe.validation_tokens or _MAX_VALIDATION_TOKENS) // 4)
        validate(size, measured)
        per_token = (clock.now() - start) / measured
        assert recipe.minutes is not None
        left = recipe.minutes * 60 - stopwatch.seconds()
        most = int(left / seconds) * recipe.tokens_per_step
        left -= validation_tokens(recipe, most) * per_token / recipe.validation_interval
        num_steps = int(world.broadcast(lambda: max(1, int(left / seconds))))
    if warning := few_steps_warning(recipe, num_steps):
        note(warning)
    return Plan(Schedule(num_steps, num_steps), recipe.tokens_per_step, size, rate)


def few_steps_warning(recipe: TrainingRecipe, num_steps: int) -> str | None:
    """The warning for a run of very few steps, unless the recipe gives the number of steps."""
    if num_steps >= MIN_USEFUL_STEPS or recipe.steps:
        return None
    by_time = recipe.tokens is None
    longer = "training.minutes (demo, adapt: --minutes)" if by_time else "training.tokens"
    remedies = [f"raise {longer}", f"lower training.tokens_per_step ({recipe.tokens_per_step:,})"]
    if recipe.init is None:
        remedies.append("choose a smaller model.size")
    return (
        f"warning: this run has only {quantity(num_steps, 'step')}, and a model learns little in "
        f"fewer than {MIN_USEFUL_STEPS}; {', '.join(remedies[:-1])} or {remedies[-1]}"
    )


def _micro_batch_that_fits(
    module: TrainModule, sequences: NDArray[np.int64], note: Callable[[str], None]
) -> int:
    """Largest micro-batch that fits into memory: all ``sequences``, or half, or a quarter, …

    For one process alone: if one of several failed, the others would wait for it.
    """
    size = len(sequences)
    while True:
        with suppress(torch.OutOfMemoryError):
            module.train_batch(sequences[:size], size, 0.0)
            return size
        module.optimizer.zero_gradients()
        torch.cuda.empty_cache()
        if size == 1:
            raise TrainingError(
                "one sequence does not fit into the accelerator's memory; try a shorter "
                "model.context_length, training.activation_checkpointing = true, or a smaller model"
            )
        size = -(-size // 2)
        note(
            f"too little memory: {quantity(size, 'sequence')} per pass (training.micro_batch_size)"
        )


def _seconds_per_step(
    module: TrainModule,
    sequences: NDArray[np.int64],
    micro_batch_size: int,
    should_stop: Callable[[], bool],
) -> float:
    """Seconds of one step, the same number in all processes."""
    num_skipped = 0

    def step() -> None:
        nonlocal num_skipped
        result = module.train_batch(sequences, micro_batch_size, _CALIBRATION_FRACTION, should_stop)
        if result is not None:
            num_skipped = num_skipped + 1 if result.skip_reason else 0
            skip_step.check_skipped(num_skipped, 1)

    step()  # allocates memory; not measured
    assert module.recipe.minutes is not None
    enough = _CALIBRATION_SHARE * 60 * module.recipe.minutes
    num_steps, elapsed, start = 0, 0.0, clock.now()
    while num_steps < _CALIBRATION_STEPS or elapsed < enough:
        if num_steps and module.world.broadcast(should_stop):
            break
        step()
        num_steps += 1
        elapsed = module.world.broadcast(lambda: clock.now() - start)
    return elapsed / num_steps
