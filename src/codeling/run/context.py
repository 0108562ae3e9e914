"""The arguments of every stage, and the request to stop. This module must not know the stages."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from codeling.manifest import Manifest
from codeling.progress import Progress
from codeling.recipe import Recipe

if TYPE_CHECKING:
    from codeling.training.initial_model import InitialModel


@dataclass
class StopRequest:
    """A request to stop the run, set by a signal handler."""

    requested: bool = False
    graceful: bool = False
    """The current stage polls ``requested`` and saves its state before it stops."""
    aborted: bool = False
    """The current stage was interrupted, so its result must not be recorded."""


@dataclass(frozen=True)
class RunContext:
    """Arguments of every stage."""

    recipe: Recipe
    """Resolved."""
    folder: Path
    progress: Progress
    manifest: Manifest
    stop: StopRequest
    initial: "InitialModel | None" = None
    """The model that the training starts from; its weights are hashed once, when first needed."""
    ray: str | None = None
    """Address of the Ray cluster that builds the corpus. The result does not depend on it."""
