"""Step to learning rate: a pure function, so that a resumed run needs no state for it.

One step is one optimizer update, however many micro-batches it takes. Linear decay to zero
over a horizon known in advance: Defazio et al. 2023, "When, Why and How Much?".
"""

from codeling.recipe import TrainingRecipe


def learning_rate(step: int, num_steps: int, warmup_fraction: float) -> float:
    """The rate of update ``step`` (0 … num_steps - 1) as a fraction of its peak.

    Rises linearly over ``warmup_fraction`` of the steps, at least one, then falls linearly;
    the update after the last would have rate zero.
    """
    warmup_steps = max(1, round(num_steps * warmup_fraction))
    rising = (step + 1) / warmup_steps
    falling = (num_steps - step) / max(1, num_steps - warmup_steps)
    return min(rising, falling, 1.0)


def is_due(step: int, num_steps: int, interval: float) -> bool:
    """Whether something done every ``interval`` (share of the run) is done after ``step`` updates.

    Always after the last one; never before the first.
    """
    if step == 0:
        return False
    every = max(1, round(num_steps * interval))
    return step == num_steps or step % every == 0


def steps_asked(recipe: TrainingRecipe, tokens_per_step: int) -> int | None:
    """Updates of a run whose length is given in steps or tokens; None where it is in minutes."""
    if recipe.steps:
        return recipe.steps
    return max(1, recipe.tokens // tokens_per_step) if recipe.tokens else None
