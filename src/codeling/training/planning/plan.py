"""The plan of a run: how many steps of how many tokens, and how many rows a pass takes.

As many steps as the recipe asks for; where it gives minutes, a few updates and a validation are
measured on this machine, and as many planned as fit. All processes make it together and get the
same one. This module must not know about files or about what is done with the plan.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from codeling.errors import TrainingError
from codeling.recipe import TrainingRecipe
from codeling.training import skip_step
from codeling.training.checkpoint.state import Plan
from codeling.training.machine import matrix_rate, rows_at_once
from codeling.training.schedule import steps_asked
from codeling.training.train_step import Updater

_CALIBRATION_STEPS = 4
"""At least so many are measured for the plan."""
_CALIBRATION_SHARE = 0.03
"""Of the minutes, at least so much time is measured: processors are quick for a few seconds."""

_CALIBRATION_FRACTION = 0.1
"""Of the peak rates: weights that begin at zero must not stay so. Products with zeros take an
accelerator less power, and its clock is a tenth higher than it is in training."""

_VALIDATED, _VALIDATED_AT_LEAST = 32_768, 2_048
"""Tokens of one validation: a hundredth of the run's, so that ten of them, which have no backward
pass, take a thirtieth of its time, but not more and not fewer than these."""


def validation_tokens(recipe: TrainingRecipe, num_tokens: int) -> int:
    """Tokens of one validation in a run of ``num_tokens``."""
    usual = max(_VALIDATED_AT_LEAST, min(_VALIDATED, num_tokens // 100))
    return recipe.validation_tokens or usual


def make_plan(
    updater: Updater,
    rows: Callable[[int], NDArray[np.int64]],
    validate: Callable[[Plan, int], object],
    note: Callable[[str], None],
    should_stop: Callable[[], bool],
    seconds_spent: float = 0.0,
) -> Plan:
    """A plan for ``updater``, whose recipe is a resolved one.

    ``rows`` gives so many rows to try it on, and ``validate`` measures it on so many tokens.
    ``seconds_spent`` of the recipe's minutes are over. ``updater`` is not to be used after it.

    :raises TrainingError: a single row does not fit into the accelerator's memory.
    """
    recipe, world = updater.recipe, updater.world
    assert recipe.tokens_per_step is not None, "a resolved recipe"
    context = updater.config.context_length
    count = recipe.tokens_per_step // context
    at_once = rows_at_once(recipe.micro_batch_size, count, context)
    rate = world.told(lambda: matrix_rate(updater.machine))
    if updater.machine.device.type != "cpu" and world.size == 1:
        at_once = _rows_that_fit(updater, rows(at_once), note)
    plan = Plan(0, recipe.tokens_per_step, at_once, rate)
    num_steps = steps_asked(recipe, recipe.tokens_per_step)
    if num_steps is None:
        start = time.perf_counter()
        note("measuring this machine's rate for the plan")
        seconds = _seconds_a_step(updater, rows(count), at_once, should_stop)
        began = time.perf_counter()
        measured = -(-(recipe.validation_tokens or _VALIDATED) // 4)
        validate(plan, measured)
        per_token = (time.perf_counter() - began) / measured
        assert recipe.minutes is not None
        left = recipe.minutes * 60 - seconds_spent - (time.perf_counter() - start)
        at_most = int(left / seconds) * recipe.tokens_per_step
        left -= validation_tokens(recipe, at_most) * per_token / recipe.validation_interval
        num_steps = int(world.told(lambda: max(1, int(left / seconds))))
    return replace(plan, num_steps=num_steps)


def _rows_that_fit(updater: Updater, rows: NDArray[np.int64], note: Callable[[str], None]) -> int:
    """As many of ``rows`` in a pass as there is memory for: all of them, or a half, or a quarter …

    Several processes do not try: one alone that fails would leave the others waiting for it.
    """
    at_once = len(rows)
    while True:
        with suppress(torch.OutOfMemoryError):
            updater.update(rows[:at_once], at_once, 0.0)
            return at_once
        updater.optimizer.zero_gradients()
        torch.cuda.empty_cache()
        if at_once == 1:
            raise TrainingError(
                "one row does not fit into the accelerator's memory; try a shorter "
                "model.context_length, training.activation_checkpointing = true, or a smaller model"
            )
        at_once = -(-at_once // 2)
        note(f"too little memory: {at_once} rows in a pass (training.micro_batch_size)")


def _seconds_a_step(
    updater: Updater, rows: NDArray[np.int64], at_once: int, should_stop: Callable[[], bool]
) -> float:
    """What one update takes, the same number in all processes."""
    num_skipped = 0

    def update() -> None:
        nonlocal num_skipped
        outcome = updater.update(rows, at_once, _CALIBRATION_FRACTION, should_stop)
        if outcome is not None:
            num_skipped = num_skipped + 1 if outcome.skip_reason else 0
            skip_step.check_skipped(num_skipped, 1)

    update()  # allocates; not measured
    assert updater.recipe.minutes is not None
    enough = _CALIBRATION_SHARE * 60 * updater.recipe.minutes
    num_steps, elapsed, began = 0, 0.0, time.perf_counter()
    while num_steps < _CALIBRATION_STEPS or elapsed < enough:
        update()
        num_steps += 1
        elapsed = updater.world.told(lambda: time.perf_counter() - began)
    return elapsed / num_steps
