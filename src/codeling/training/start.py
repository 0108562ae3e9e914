"""The start of a training: from its newest checkpoint, or from a new plan and new weights."""

import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from codeling.dataset.loader import Loader
from codeling.errors import StoppedError
from codeling.model.config import GPT2Config
from codeling.progress import Progress
from codeling.recipe import TrainingRecipe
from codeling.training import metrics
from codeling.training.checkpoint import resume, state
from codeling.training.checkpoint.state import Plan, TrainingState
from codeling.training.clock import Stopwatch
from codeling.training.data import TrainingData
from codeling.training.distributed.process_group import World
from codeling.training.machine import Machine, matrix_rate
from codeling.training.planning.plan import make_plan
from codeling.training.train_module import TrainModule
from codeling.training.warm_start import warm_start

_MAX_VALIDATION_BATCH = 32

_MAX_WARM_START_SHARE = 0.25
"""Maximum share of a run by the clock for its warm start, which ends early on a slow machine."""


@dataclass(frozen=True)
class TrainingJob:
    """The constant inputs of a training, in this process."""

    recipe: TrainingRecipe
    config: GPT2Config
    data: TrainingData
    validation_loader: Loader
    folder: Path
    identity: str
    previous_identity: str
    """The identity that the previous version gave the same run."""
    machine: Machine
    world: World
    progress: Progress
    should_stop: Callable[[], bool]
    stopwatch: Stopwatch
    initial_weights: Callable[[], dict[str, Tensor]] | None = None
    """Reads the weights that a new run starts from; None: random ones or a warm start."""

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.folder / "checkpoints"

    @property
    def sequences_per_step(self) -> int:
        """Sequences of one step, over all processes."""
        assert self.recipe.tokens_per_step is not None, "a resolved recipe"
        return self.recipe.tokens_per_step // self.config.context_length

    def should_stop_between(self) -> bool:
        """Whether to stop in the middle of something; several processes would have to agree."""
        return self.world.size == 1 and self.should_stop()

    def new_module(self, weights: dict[str, Tensor] | None) -> TrainModule:
        """New model, optionally with given ``weights``, and its optimizer."""
        return TrainModule(
            self.recipe, self.config, self.data.tokenizer, self.machine, self.world, weights
        )

    def validate(
        self, module: TrainModule, micro_batch_size: int, num_tokens: int
    ) -> metrics.Validation | None:
        """Validate on the first ``num_tokens`` of the split; None if asked to stop.

        The first process measures and broadcasts; with a sharded model all processes take part.
        """
        found = None
        if self.world.is_first or module.is_sharded:
            found = metrics.validate(
                module.model,
                self.validation_loader,
                self.data.tokenizer,
                num_tokens,
                min(micro_batch_size, _MAX_VALIDATION_BATCH),
                intra_document_masking=self.recipe.intra_document_masking,
                should_stop=self.should_stop_between,
            )
        if self.world.size == 1:
            return found
        return metrics.Validation(**self.world.broadcast(lambda: asdict(found)))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Start:
    """A training that is ready for its next step."""

    module: TrainModule
    state: TrainingState
    """Without tensors; these are in ``module``."""
    loader: Loader
    checkpoint: Path | None
    """The checkpoint that it continues from; None for a new run."""


def start(job: TrainingJob) -> Start:
    """Continue from the newest undamaged checkpoint of this run, or plan a new one.

    All processes call it together.

    :raises StoppedError: the job was asked to stop before its first step.
    :raises TrainingError: the model does not fit into the accelerator's memory.
    """
    name = job.world.broadcast(lambda: _newest_checkpoint(job))
    found = _new_run(job) if name is None else _continued(job, job.checkpoints / name)
    if job.world.is_first:
        for log in ("metrics.jsonl", "samples.jsonl"):
            metrics.keep_until(job.folder / log, found.state.step if found.checkpoint else -1)
    return found


def _newest_checkpoint(job: TrainingJob) -> str | None:
    """Name of the checkpoint to continue from; without one, old checkpoints are removed."""
    newest, complaints = state.newest_intact(job.checkpoints)
    for complaint in complaints:
        job.progress.note(complaint)
    if newest is not None:
        identity = state.load_without_tensors(newest).identity
        if identity in (job.identity, job.previous_identity):
            return newest.name
        job.progress.note("the checkpoints belong to other settings; training starts again")
    shutil.rmtree(job.checkpoints, ignore_errors=True)
    return None


def _continued(job: TrainingJob, checkpoint: Path) -> Start:
    found = state.load_without_tensors(checkpoint)
    job.stopwatch.add(found.seconds)
    rate = job.world.broadcast(lambda: matrix_rate(job.machine))  # it may be another machine
    plan = replace(found.plan, matrix_flops=rate)
    module = job.new_module(None)
    resume.load(checkpoint, module)
    job.progress.note(f"continuing from step {found.step:,} of {plan.num_steps:,}")
    now = replace(found, identity=job.identity, plan=plan)
    return Start(module, now, _loader(job, plan), checkpoint)


def _new_run(job: TrainingJob) -> Start:
    weights = None
    if job.initial_weights is not None:
        weights = job.initial_weights()
    elif job.recipe.warm_start_steps:
        weights = _warm_start(job)
    plan = _plan(job)
    loader = _loader(job, plan)
    now = TrainingState(job.identity, 0, job.stopwatch.seconds(), loader.start(), plan)
    return Start(job.new_module(weights), now, loader, None)


def _plan(job: TrainingJob) -> Plan:
    """Calibrates on validation sequences and discards the updates."""

    def sequences(count: int) -> NDArray[np.int64]:
        loader = job.validation_loader
        taken = islice(loader.sequences(loader.start()), count)
        return np.stack([sequence for sequence, _ in taken])

    module = job.new_module(None)
    return make_plan(
        module,
        sequences,
        lambda size, num_tokens: job.validate(module, size, num_tokens),
        job.progress.note,
        job.should_stop,
        job.stopwatch,
    )


def _loader(job: TrainingJob, plan: Plan) -> Loader:
    return job.data.loader(job.recipe, job.config.context_length, plan.first_num_tokens)


def _warm_start(job: TrainingJob) -> dict[str, Tensor]:
    """Warm-started weights, the same in every process."""
    seconds = math.inf
    if job.recipe.minutes is not None and job.world.size == 1:
        seconds = _MAX_WARM_START_SHARE * 60 * job.recipe.minutes
    weights = warm_start.warm_started_weights(
        job.recipe,
        job.config,
        job.data.bigrams(job.config.vocab_size),
        job.machine,
        job.progress,
        job.should_stop_between,
        lambda: job.stopwatch.seconds() > seconds,
    )
    if weights is None:
        raise StoppedError("stopped before the first step; the same command starts again")
    return weights
