"""The training loop: sequences in, optimizer updates, logs, samples and checkpoints out.

A run is planned once (the number of steps and their size), by the recipe or by measuring the
machine; a run by the clock is replanned at fixed shares of its schedule. The plan is part of the
state, and each step is a function of the recipe, the plan, the tokens and its number, so a run that
was stopped ends in the same weights, to the bit, as one that was not. This module must not know
where tokens come from or what the model is used for: the data makes the loader, and samples are
drawn by a callback.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codeling import jsonl
from codeling.errors import StoppedError
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2
from codeling.progress import SILENT, Advance, Progress
from codeling.recipe import TrainingRecipe
from codeling.recipe.renamed_keys import previous_table, without_added
from codeling.recipe.training import WEIGHT_INDEPENDENT_KEYS
from codeling.training import clock, metrics, skip_step
from codeling.training.checkpoint import resume
from codeling.training.clock import Stopwatch
from codeling.training.data import TrainingData
from codeling.training.distributed import fsdp, process_group
from codeling.training.machine import set_up
from codeling.training.planning.pace import Intervals, is_replan_due, steps_that_fit
from codeling.training.planning.plan import validation_tokens
from codeling.training.prefetcher import Prefetcher
from codeling.training.start import Start, TrainingJob, start
from codeling.training.tracking.last_rows import LastRows
from codeling.training.tracking.tracking import Tracking, identify_run

Sampler = Callable[[GPT2], Mapping[str, str]]
"""Completes a prompt with the model as it is now: ``prompt`` and ``completion``."""

_ORDER_FORMAT = 4
"""Raised with every change to the result of a step, so that no older state is continued."""


@dataclass(frozen=True)
class TrainingResult:
    """A finished run."""

    checkpoint: Path
    """Its last state."""
    num_steps: int
    num_tokens: int
    bits_per_byte: float
    """On the validation split, at the end."""
    seconds: float


def train(
    recipe: TrainingRecipe,
    config: GPT2Config,
    data: TrainingData,
    folder: Path,
    *,
    identity: str = "",
    previous_identity: str = "",
    initial_weights: Callable[[], dict[str, Tensor]] | None = None,
    sample: Sampler | None = None,
    progress: Progress = SILENT,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainingResult:
    """Train to the end of the plan, continuing from the newest complete checkpoint in ``folder``.

    ``recipe`` must be resolved. ``identity`` names the run, and ``previous_identity`` is its
    identity in the previous version; checkpoints of any other identity are removed.
    ``initial_weights`` reads the weights of a new run, which the identity includes. ``should_stop``
    is called between any two passes. Leaves ``checkpoints/``, ``metrics.jsonl``, ``last_step.json``
    and, with ``sample``, ``samples.jsonl`` in ``folder``. Under ``torchrun`` every process calls
    it; the first one alone writes.

    :raises UsageError: the sequences of a step do not divide evenly among the processes.
    :raises StoppedError: ``should_stop`` returned True; the state is saved.
    :raises TrainingError: the loss was NaN or infinite for three consecutive steps.
    :raises StorageError: the state cannot be written.
    """
    stopwatch = Stopwatch()
    machine = set_up(recipe.device, recipe.precision, recipe.threads)
    if machine.is_emulated:
        progress.note(
            f"bf16 is emulated on this {machine.device.type}, many times slower than fp32: "
            'training.precision = "auto" picks the faster one'
        )
    job = TrainingJob(
        recipe=recipe,
        config=config,
        data=data,
        validation_loader=data.validation_loader(config.context_length),
        folder=folder,
        identity=identity,
        previous_identity=previous_identity,
        machine=machine,
        world=process_group.join(machine.device),
        progress=progress,
        should_stop=should_stop,
        stopwatch=stopwatch,
        initial_weights=initial_weights,
    )
    job.world.check_divides(job.sequences_per_step)
    started = start(job)
    prefetcher = Prefetcher(
        started.loader,
        started.state.position,
        job.sequences_per_step,
        in_process=machine.device.type != "cuda",
    )
    tracking = None
    if recipe.track and job.world.is_first:
        run = identify_run(folder, started.state.step, recipe.model_dump(mode="json"))
        tracking = Tracking(recipe.track, run, progress)
        for line in metrics.read(folder / "metrics.jsonl"):  # of a resumed run
            tracking.log(line)
    try:
        return Trainer(job, started, prefetcher, sample, tracking).run()
    finally:
        prefetcher.close()
        if tracking is not None:
            tracking.close()


def identify(recipe: TrainingRecipe, config: GPT2Config, inputs: dict[str, str]) -> str:
    """SHA-256 of everything that decides the result of a step, without display and saving."""
    settings = recipe.model_dump(mode="json", exclude=set(WEIGHT_INDEPENDENT_KEYS))
    settings = without_added("training", settings)
    return _sha256([_ORDER_FORMAT, settings, asdict(config), inputs])


def identify_as_previous_version(
    recipe: TrainingRecipe, config: GPT2Config, inputs: dict[str, str]
) -> str:
    """The identity that the previous version, with its recipe keys, gave to the same run."""
    settings = recipe.model_dump(mode="json", exclude=set(WEIGHT_INDEPENDENT_KEYS))
    settings = previous_table("training", settings)
    return _sha256([_ORDER_FORMAT, settings, asdict(config), inputs])


def _sha256(values: list[Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


class Trainer:
    """The loop of one run, seen from this process."""

    def __init__(
        self,
        job: TrainingJob,
        started: Start,
        prefetcher: Prefetcher,
        sample: Sampler | None,
        tracking: Tracking | None = None,
    ) -> None:
        self.job = job
        self.module = started.module
        self.state = started.state
        self.prefetcher = prefetcher
        self.sample = sample
        self.tracking = tracking
        self.continued_from = started.checkpoint
        self.rows = LastRows(job.folder, job.data.tokenizer) if job.world.is_first else None

    def run(self) -> TrainingResult:
        """Step until the plan's end; save at intervals, at the end and when asked to stop."""
        # The plan is part of the state: saved at the start, it is not measured a second time.
        checkpoint = self.continued_from or self._log_and_save_start()
        saved = clock.now()
        plan = self.state.plan
        with self.job.progress.task("training", plan.num_tokens, "tokens") as advance:
            advance(self.state.step * plan.tokens_per_step)
            measured = self._logged() if self.continued_from else {}
            bits_per_byte = self._measure(measured) if self.continued_from else None
            while self.state.step < self.state.plan.num_steps:
                self._replan()
                if self._step(advance):
                    bits_per_byte = self._measure({})
                late = clock.now() - saved >= self.job.recipe.checkpoint_minutes * 60
                stopping, late = self._any(self.job.should_stop(), late)
                ended = self.state.step == self.state.plan.num_steps
                if stopping or late or ended or self._is_kept():
                    checkpoint = self._save()
                    saved = clock.now()
                if stopping and not ended:
                    break
        state = self.state
        if bits_per_byte is None or state.step < state.plan.num_steps:
            raise StoppedError(
                f"stopped at step {state.step:,} of {state.plan.num_steps:,}; the state is saved, "
                "the same command continues from here"
            )
        num_tokens = state.step * state.plan.tokens_per_step
        return TrainingResult(checkpoint, state.step, num_tokens, bits_per_byte, state.seconds)

    def _log_and_save_start(self) -> Path:
        """Log the size of the data and save the state before the first step."""
        self._log({"kind": "data", "step": 0, **self.job.data.sizes()})
        return self._save()

    def _is_kept(self) -> bool:
        every = self.job.recipe.keep_every
        return every is not None and self.state.step % every == 0

    def _any(self, *values: bool) -> tuple[bool, ...]:
        """For each of ``values``, whether it is true in any process."""
        if self.job.world.size == 1:
            return values
        votes = torch.tensor(values, dtype=torch.int32, device=self.job.machine.device)
        return tuple(bool(vote) for vote in self.job.world.sum(votes).tolist())

    def _replan(self) -> None:
        """In a run by the clock, adapt the number of steps to the pace; all processes alike."""
        plan, recipe, step = self.state.plan, self.job.recipe, self.state.step
        if recipe.minutes is None or not is_replan_due(plan.schedule, step):
            return
        left = recipe.minutes * 60 - self.job.stopwatch.seconds()
        intervals = Intervals(
            recipe.validation_interval, recipe.sample_interval, recipe.checkpoint_minutes
        )
        pace = self.state.pace
        num_steps = self.job.world.broadcast(
            lambda: steps_that_fit(plan.schedule, step, left, pace, intervals)
        )
        plan = replace(plan, schedule=plan.schedule.replanned(step, num_steps))
        self.state = replace(self.state, plan=plan, pace=pace.restarted())

    def _step(self, advance: Advance) -> bool:
        """Train on the next batch and log it; False if asked to stop in the middle."""
        job, before = self.job, self.state
        plan = before.plan
        fraction = plan.schedule.learning_rate(before.step, job.recipe.warmup_fraction)
        started_at = clock.now()
        batch = self.prefetcher.next_batch()
        result = self.module.train_batch(
            batch.sequences, plan.micro_batch_size, fraction, job.should_stop
        )
        if result is None:
            return False
        step_seconds = clock.now() - started_at
        step = before.step + 1
        if result.skip_reason:
            job.progress.note(f"step {step:,}: {result.skip_reason}; the update is skipped")
        num_skipped = before.num_skipped + 1 if result.skip_reason else 0
        skip_step.check_skipped(num_skipped, step)
        self.state = replace(
            before,
            step=step,
            position=batch.position,
            num_skipped=num_skipped,
            pace=before.pace.with_step(step_seconds),
        )
        tokens_per_second = plan.tokens_per_step / step_seconds
        peak = plan.matrix_flops * job.world.size
        mfu = tokens_per_second * job.config.train_flops_per_token / peak
        self._log(
            {
                "kind": "step",
                "step": step,
                "num_steps": plan.num_steps,
                "tokens": step * plan.tokens_per_step,
                "loss": result.loss if math.isfinite(result.loss) else None,
                "learning_rate": fraction,
                "gradient_norm": (
                    result.gradient_norm if math.isfinite(result.gradient_norm) else None
                ),
                "tokens_per_second": round(tokens_per_second, 1),
                "mfu": round(mfu, 4),
            }
        )
        if self.rows is not None:
            self.rows.record(step, batch.sequences)
        advance(plan.tokens_per_step, f"loss {result.loss:.3f}  MFU {mfu:.0%}", plan.num_tokens)
        return True

    def _logged(self) -> dict[str, float]:
        """The logged metrics of this step; a run may be stopped before it is measured.

        Kinds of metrics to bits per byte (NaN if they have none), and ``sample``.
        """
        if not self.job.world.is_first:
            return {}
        step = self.state.step
        lines = metrics.read(self.job.folder / "metrics.jsonl")
        found = {line["kind"]: line for line in lines if line["step"] == step}
        bits = {kind: line.get("bits_per_byte", math.nan) for kind, line in found.items()}
        samples = metrics.read(self.job.folder / "samples.jsonl")
        if any(line["step"] == step for line in samples):
            bits["sample"] = math.nan
        return bits

    def _measure(self, logged: Mapping[str, float]) -> float | None:
        """Validate and sample if that is due after this step and not ``logged`` yet.

        Return bits per byte, or None if validation is not due or was asked to stop.
        """
        job, state = self.job, self.state
        plan, step = state.plan, state.step
        bits_per_byte = logged.get("validation")
        due = plan.schedule.is_due(step, job.recipe.validation_interval)
        if due and not job.world.broadcast(lambda: "validation" in logged):
            started_at = clock.now()
            num_tokens = validation_tokens(job.recipe, plan.first_num_tokens)
            found = job.validate(self.module, plan.micro_batch_size, num_tokens)
            if found is None:
                return None
            bits_per_byte = found.bits_per_byte
            seconds = clock.now() - started_at
            self.state = replace(state, pace=replace(state.pace, validation_seconds=seconds))
            tokens = step * plan.tokens_per_step
            self._log({"kind": "validation", "step": step, "tokens": tokens, **asdict(found)})
            job.progress.note(
                f"step {step:,} of {plan.num_steps:,}: validation "
                f"{found.loss:.3f} nats per token, {bits_per_byte:.3f} bits per byte"
            )
        due = plan.schedule.is_due(step, job.recipe.sample_interval)
        if self.sample and due and not job.world.broadcast(lambda: "sample" in logged):
            started_at = clock.now()
            self._log_sample(self.sample)
            pace = replace(self.state.pace, sample_seconds=clock.now() - started_at)
            self.state = replace(self.state, pace=pace)
        return bits_per_byte

    def _log(self, line: dict[str, Any]) -> None:
        if self.job.world.is_first:
            line["seconds"] = round(self.job.stopwatch.seconds(), 3)
            jsonl.append(self.job.folder / "metrics.jsonl", line)
            if self.tracking is not None:
                self.tracking.log(line)

    def _log_sample(self, sample: Sampler) -> None:
        model = self.module.model
        if self.module.is_sharded:
            parameters = fsdp.full_tensors(self.module.parameters)
            model = GPT2(self.job.config)
            model.load_state_dict(parameters)
        if not self.job.world.is_first:
            return
        text = sample(model)
        step = self.state.step
        jsonl.append(self.job.folder / "samples.jsonl", {"step": step, **text})
        self.job.progress.note(f"sample at step {step:,}:\n{text['prompt']}{text['completion']}")

    def _save(self) -> Path:
        job = self.job
        started_at = clock.now()
        self.state = replace(self.state, seconds=job.stopwatch.seconds())
        recipe = job.recipe
        checkpoint = resume.save(
            job.checkpoints, self.state, self.module, recipe.keep_last, recipe.keep_every
        )
        seconds = clock.now() - started_at
        self.state = replace(self.state, pace=replace(self.state.pace, checkpoint_seconds=seconds))
        return checkpoint
