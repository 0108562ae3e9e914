"""A run from end to end: its stages, their order, their inputs and outputs."""

from codeling.run.context import StopRequest
from codeling.run.execution import resolve, run
from codeling.run.stages import STAGES

__all__ = ["STAGES", "StopRequest", "resolve", "run"]
