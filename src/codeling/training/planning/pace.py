"""The pace of a run, and the number of steps that fits into the time left.

A run by the clock is planned from a few seconds of measurement, and its rate changes on the way:
other processes start, a laptop gets warm. So it is replanned at fixed shares of its schedule.
Pace and plan are part of the training state; with the same clock, a resumed run plans like an
uninterrupted one. Pure arithmetic: this module must not read a clock.
"""

from dataclasses import dataclass, replace

from codeling.training.schedule import Schedule

NUM_REPLANS = 40
"""Plans per run. A rate that halves just after the last of them costs a fortieth of the time."""


@dataclass(frozen=True)
class Pace:
    """Seconds that parts of the training take; steps are counted since the last plan."""

    num_steps: int = 0
    step_seconds: float = 0.0
    """Of these steps together."""
    validation_seconds: float = 0.0
    """Of the last validation."""
    sample_seconds: float = 0.0
    checkpoint_seconds: float = 0.0

    def with_step(self, seconds: float) -> "Pace":
        """After one more step."""
        total = self.step_seconds + seconds
        return replace(self, num_steps=self.num_steps + 1, step_seconds=total)

    def restarted(self) -> "Pace":
        """With no steps counted."""
        return replace(self, num_steps=0, step_seconds=0.0)


@dataclass(frozen=True)
class Intervals:
    """Intervals at which a run measures and saves."""

    validation: float
    """Share of the run."""
    sample: float
    """Share of the run."""
    checkpoint_minutes: float


def is_replan_due(schedule: Schedule, step: int) -> bool:
    """Whether a run by the clock is replanned after ``step`` updates."""
    if step >= schedule.num_steps:
        return False
    return schedule.crosses(step, schedule.length / NUM_REPLANS)


def steps_that_fit(
    schedule: Schedule, step: int, seconds_left: float, pace: Pace, intervals: Intervals
) -> int:
    """Number of steps of the whole run, ``step`` of them done, so that it ends in time.

    At least one more step. The measurements and checkpoints that are still due take their time
    first.
    """
    if not pace.num_steps or not pace.step_seconds:
        return schedule.num_steps
    validations = schedule.num_due(step, intervals.validation) * pace.validation_seconds
    samples = schedule.num_due(step, intervals.sample) * pace.sample_seconds
    num_checkpoints = 1 + max(0.0, seconds_left) / (60 * intervals.checkpoint_minutes)
    left = seconds_left - validations - samples - num_checkpoints * pace.checkpoint_seconds
    return step + max(1, round(left * pace.num_steps / pace.step_seconds))
