"""Steps to positions on the schedule, positions to learning rates and intervals: pure functions.

A step is one optimizer update, regardless of how many micro-batches it takes. A position is a
step of the first plan: position 0 is the start, ``length`` the end. While a run keeps its first
plan, the position of a step is its number. When the clock asks for another number of steps, the
rest of the schedule is stretched or shortened (:meth:`Schedule.replanned`): the learning rate has
no jump, and it still ends at zero. Linear decay to zero over a horizon known in advance: Defazio et
al. 2023, "When, Why and How Much?".
"""

import math
from dataclasses import dataclass, replace

from codeling.recipe import TrainingRecipe


@dataclass(frozen=True)
class Schedule:
    """A piecewise linear map from steps to positions; the current piece starts at the anchor."""

    length: int
    """Number of steps of the first plan."""
    num_steps: int
    """Number of steps of the current plan."""
    anchor_step: int = 0
    """Step after which the current plan was made."""
    anchor_position: float = 0.0
    """Position of that step."""

    def position(self, step: int) -> float:
        """Position after ``step`` updates, ``anchor_step`` or more."""
        if step == self.num_steps:
            return float(self.length)
        steps_left = self.num_steps - self.anchor_step
        slope = (self.length - self.anchor_position) / steps_left
        return self.anchor_position + (step - self.anchor_step) * slope

    def replanned(self, step: int, num_steps: int) -> "Schedule":
        """The same schedule up to ``step``, then ending at ``num_steps``."""
        position = self.position(step)
        return replace(self, num_steps=num_steps, anchor_step=step, anchor_position=position)

    def crosses(self, step: int, interval: float) -> bool:
        """Whether update ``step`` reached a multiple of ``interval`` (in positions).

        False at the anchor: what was due there was done under the plan before.
        """
        if step <= self.anchor_step:
            return False
        before, after = self.position(step - 1), self.position(step)
        return math.floor(after / interval) > math.floor(before / interval)

    def is_due(self, step: int, share: float) -> bool:
        """Whether something that is done every ``share`` of the run is due after ``step`` updates.

        Always after the last step, never before the first, and not within the last half interval
        before the end: a rounded interval may end a step or two before the run does.
        """
        if step == self.num_steps:
            return True
        interval = self._interval(share)
        number = self.position(step) // interval
        return number <= self._last_before_the_end(interval) and self.crosses(step, interval)

    def num_due(self, step: int, share: float) -> int:
        """Number of times that it will still be due after ``step``."""
        if step == self.num_steps:
            return 0
        interval = self._interval(share)
        done = math.floor(self.position(step) / interval)
        return max(0, self._last_before_the_end(interval) - done) + 1

    def _last_before_the_end(self, interval: int) -> int:
        """Number of the last multiple of ``interval`` with half of one or more before the end."""
        return math.floor(self.length / interval - 0.5)

    def _interval(self, share: float) -> int:
        return max(1, round(self.length * share))

    def learning_rate(self, step: int, warmup_fraction: float) -> float:
        """Learning rate of update ``step`` (0 … num_steps - 1) as a fraction of its peak."""
        return learning_rate(self.position(step), self.length, warmup_fraction)


def learning_rate(position: float, length: int, warmup_fraction: float) -> float:
    """Learning rate at ``position`` (0 ≤ position < length) as a fraction of its peak.

    Rises linearly over ``warmup_fraction`` of ``length``, at least one step, then falls linearly
    to zero at ``length``.
    """
    warmup_steps = max(1, round(length * warmup_fraction))
    rising = (position + 1) / warmup_steps
    falling = (length - position) / max(1, length - warmup_steps)
    return min(rising, falling, 1.0)


def requested_steps(recipe: TrainingRecipe, tokens_per_step: int) -> int | None:
    """Number of steps of a run whose length is given in steps or tokens; None for minutes."""
    if recipe.steps:
        return recipe.steps
    return max(1, recipe.tokens // tokens_per_step) if recipe.tokens else None
