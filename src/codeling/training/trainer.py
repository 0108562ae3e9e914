"""The loop: rows in, updates out, and everything a person wants to know on the way.

A run is planned once (how many steps of how many tokens), by the recipe or by measuring the
machine, and the plan is part of the state; from there on each step is a function of the recipe,
the tokens and the step, so a run that was stopped ends in the same weights, to the bit, as one
that was not. This module must not know where tokens come from or what the model is used for.
"""

import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codeling import jsonl
from codeling.dataset.infilling import Infilling
from codeling.dataset.loader import Loader, Mixture, Position
from codeling.dataset.tokens import TokenFile
from codeling.errors import StoppedError
from codeling.generation.engine import Engine
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2
from codeling.progress import SILENT, Advance, Progress
from codeling.recipe import TrainingRecipe
from codeling.recipe.renamed_keys import previous_table
from codeling.recipe.training import DECIDE_NOTHING
from codeling.tokenizer.tokenizer import Tokenizer
from codeling.training import metrics, skip_step
from codeling.training.checkpoint import resume, state
from codeling.training.checkpoint.state import Plan, TrainingState
from codeling.training.distributed import fsdp, process_group
from codeling.training.machine import Machine, matrix_rate, set_up
from codeling.training.planning.plan import make_plan, validation_tokens
from codeling.training.prefetcher import Feed
from codeling.training.schedule import is_due, learning_rate
from codeling.training.train_step import Outcome, Updater
from codeling.training.warm_start import warm_start

SAMPLE_PROMPT = 'def read_lines(path):\n    """Return the lines of a text file."""\n'
_SAMPLE_TOKENS = 64
_ORDER_FORMAT = 4
"""Raised with every change to what a step computes, so that no older state is gone on from."""


@dataclass(frozen=True)
class Result:
    """A finished run."""

    checkpoint: Path
    """Its last state."""
    num_steps: int
    num_tokens: int
    bits_per_byte: float
    """On the validation split, at the end."""
    seconds: float


@dataclass(frozen=True)
class Inputs:
    """What a run is trained on."""

    tokenizer: Tokenizer
    train: TokenFile
    validation: TokenFile
    owners: NDArray[np.int64] | None = None
    """Number of the repository of each document of ``train``; None takes all for one."""


def train(
    recipe: TrainingRecipe,
    config: GPT2Config,
    inputs: Inputs,
    folder: Path,
    *,
    identity: str = "",
    previous_identity: str = "",
    progress: Progress = SILENT,
    should_stop: Callable[[], bool] = lambda: False,
) -> Result:
    """Train to the end of the plan, going on from the newest whole checkpoint in ``folder``.

    ``recipe`` is a resolved one. ``identity`` names what the run is made from, and
    ``previous_identity`` is its identity in the previous version; checkpoints of any other
    identity are removed. ``should_stop`` is asked between any two passes. Leaves
    ``checkpoints/``, ``metrics.jsonl`` and ``samples.jsonl`` in ``folder``. Under ``torchrun``
    every process calls it; the first one alone writes.

    :raises UsageError: the rows of a step cannot be shared evenly by the processes.
    :raises StoppedError: ``should_stop`` said so; the state is saved.
    :raises TrainingError: the loss left the numbers in three steps in a row.
    :raises StorageError: the state cannot be written.
    """
    identities = (identity, previous_identity)
    run = _Run(recipe, config, inputs, folder, identities, progress, should_stop)
    try:
        run.restore()
        return run.finish()
    finally:
        if run.feed is not None:
            run.feed.close()


def identify(recipe: TrainingRecipe, config: GPT2Config, inputs: dict[str, str]) -> str:
    """SHA-256 of everything that decides what a step computes; display and saving left out."""
    settings = recipe.model_dump(mode="json", exclude=set(DECIDE_NOTHING))
    return _sha256([_ORDER_FORMAT, settings, asdict(config), inputs])


def identify_as_before(recipe: TrainingRecipe, config: GPT2Config, inputs: dict[str, str]) -> str:
    """The identity that the previous version, with its recipe keys, gave the same run."""
    settings = recipe.model_dump(mode="json", exclude=set(DECIDE_NOTHING))
    settings = previous_table("training", settings)
    return _sha256([_ORDER_FORMAT, settings, asdict(config), inputs])


def _sha256(values: list[Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


class _Run:
    """One training run, seen from this process."""

    def __init__(
        self,
        recipe: TrainingRecipe,
        config: GPT2Config,
        inputs: Inputs,
        folder: Path,
        identities: tuple[str, str],
        progress: Progress,
        should_stop: Callable[[], bool],
    ) -> None:
        self.recipe, self.config, self.inputs, self.folder = recipe, config, inputs, folder
        self.identities, self.progress, self.should_stop = identities, progress, should_stop
        self.machine: Machine = set_up(recipe.device, recipe.precision, recipe.threads)
        if self.machine.is_emulated:
            self.progress.note(
                f"bf16 is emulated on this {self.machine.device.type}, many times as slow as fp32: "
                'training.precision = "auto" takes what is fast'
            )
        self.world = process_group.join(self.machine.device)
        self.validation = Loader(inputs.validation, inputs.tokenizer, config.context_length, seed=0)
        assert recipe.tokens_per_step is not None, "train() takes a resolved recipe"
        self.rows_per_step = recipe.tokens_per_step // config.context_length
        self.world.share(self.rows_per_step)
        self.step = 0
        self.seconds = 0.0
        self.num_skipped = 0
        self.restored: Path | None = None
        self.plan: Plan
        self.feed: Feed | None = None
        self._build()

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    def _build(self, begun: Mapping[str, Tensor] | None = None) -> None:
        """A fresh network, but for what is ``begun``, and its optimizer."""
        self.updater = Updater(
            self.recipe, self.config, self.inputs.tokenizer, self.machine, self.world, begun
        )

    def _read_for(self, plan: Plan, position: Position | None = None) -> None:
        """Read what a run of this length does best to read, from ``position`` or the start on."""
        recipe, inputs = self.recipe, self.inputs
        mixture = None
        if inputs.owners is not None:
            mixture = Mixture(inputs.owners, plan.num_tokens, recipe.mixture_exponent)
        infilling = Infilling(recipe.fim_rate, recipe.fim_spm_rate, recipe.seed)
        context = self.config.context_length
        source = (inputs.train, inputs.tokenizer)
        loader = Loader(*source, context, recipe.seed, infilling, mixture)
        self.position = position or loader.start()
        ahead = self.machine.device.type == "cuda"
        self.feed = Feed(loader, self.position, self.rows_per_step, ahead=ahead)

    def restore(self) -> None:
        """Go on from the newest whole checkpoint of this run, or plan a new one."""
        name = self.world.told(self._choose)
        if name is None:
            self.plan = self._make_plan()
            self._read_for(self.plan)
        else:
            self.restored = self.checkpoints / name
            found = state.load_without_tensors(self.restored)
            self.step, self.seconds = found.step, found.seconds
            rate = self.world.told(lambda: matrix_rate(self.machine))  # it may be another machine
            self.plan, self.num_skipped = replace(found.plan, matrix_flops=rate), found.num_skipped
            resume.load(self.restored, self.updater)
            self._read_for(self.plan, found.position)
            self.progress.note(f"going on from step {self.step:,} of {self.plan.num_steps:,}")
        if self.world.is_first:
            for log in ("metrics.jsonl", "samples.jsonl"):
                metrics.keep_until(self.folder / log, self.step)

    def _choose(self) -> str | None:
        """The checkpoint to go on from; where there is none, what is left of others goes."""
        newest, complaints = state.newest_whole(self.checkpoints)
        for complaint in complaints:
            self.progress.note(complaint)
        if newest is not None:
            if state.load_without_tensors(newest).identity in self.identities:
                return newest.name
            self.progress.note("the checkpoints belong to other settings; training anew")
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        return None

    def _make_plan(self) -> Plan:
        """What is measured for it is measured on the validation split, and forgotten."""

        def rows(count: int) -> NDArray[np.int64]:
            taken = islice(self.validation.sequences(self.validation.start()), count)
            return np.stack([row for row, _ in taken])

        began = time.perf_counter()
        begun = self._begin() if self.recipe.warm_start_steps else None
        self.seconds = time.perf_counter() - began
        plan = make_plan(
            self.updater, rows, self._validate, self.progress.note, self.should_stop, self.seconds
        )
        del self.updater  # before there is another: two may be more than the memory holds
        self._build(begun)
        return plan

    def _begin(self) -> dict[str, Tensor]:
        """Weights of a warm start; every process computes the same ones."""
        alone = self.world.size == 1
        begun = warm_start.begin(
            self.recipe,
            self.config,
            self.inputs.train,
            self.inputs.tokenizer.end_of_text,
            self.machine,
            self.progress,
            self.should_stop if alone else lambda: False,
        )
        if begun is None:
            raise StoppedError("stopped before the first step; the same command begins again")
        return begun

    def finish(self) -> Result:
        """Step until the plan's end; save at intervals, at the end and when asked to stop."""
        plan = self.plan
        self.began = time.perf_counter() - self.seconds
        # The plan is part of the state: kept from the start, it is not measured a second time.
        checkpoint = self.restored or self._save()
        saved = time.perf_counter()
        with self.progress.task("training", plan.num_tokens, "tokens") as advance:
            advance(self.step * plan.tokens_per_step)
            bits_per_byte = self._measure(self._measured()) if self.restored else None
            while self.step < plan.num_steps:
                if self._one_step(advance):
                    bits_per_byte = self._measure({})
                    self.seconds = time.perf_counter() - self.began
                late = time.perf_counter() - saved >= self.recipe.checkpoint_minutes * 60
                stopping, late = self._any(self.should_stop(), late)
                ended = self.step == plan.num_steps
                keeping = self.recipe.keep_every and self.step % self.recipe.keep_every == 0
                if stopping or late or ended or keeping:
                    checkpoint = self._save()
                    saved = time.perf_counter()
                if stopping and not ended:
                    break
        if bits_per_byte is None or self.step < plan.num_steps:
            raise StoppedError(
                f"stopped at step {self.step:,} of {plan.num_steps:,}; the state is saved, "
                "the same command goes on from here"
            )
        return Result(checkpoint, plan.num_steps, plan.num_tokens, bits_per_byte, self.seconds)

    def _any(self, *values: bool) -> tuple[bool, ...]:
        """Each true where it is in any process."""
        if self.world.size == 1:
            return values
        votes = self.world.sum(torch.tensor(values, dtype=torch.int32, device=self.machine.device))
        return tuple(bool(vote) for vote in votes.tolist())

    def _one_step(self, advance: Advance) -> bool:
        """Update once and log it; False where it was asked to stop in the middle."""
        plan = self.plan
        fraction = learning_rate(self.step, plan.num_steps, self.recipe.warmup_fraction)
        start = time.perf_counter()
        outcome = self._update(fraction)
        if outcome is None:
            return False
        rate = plan.tokens_per_step / (time.perf_counter() - start)
        self.step += 1
        peak = plan.matrix_flops * self.world.size
        utilisation = rate * self.config.train_flops_per_token / peak
        self._log(
            {
                "kind": "step",
                "step": self.step,
                "tokens": self.step * plan.tokens_per_step,
                "loss": outcome.loss if math.isfinite(outcome.loss) else None,
                "learning_rate": fraction,
                "gradient_norm": outcome.norm if math.isfinite(outcome.norm) else None,
                "tokens_per_second": round(rate, 1),
                "mfu": round(utilisation, 4),
            }
        )
        advance(plan.tokens_per_step, f"loss {outcome.loss:.3f}  MFU {utilisation:.0%}")
        return True

    def _update(self, fraction: float) -> Outcome | None:
        """One update with the next rows; None where it was asked to stop in the middle."""
        assert self.feed is not None
        batch = self.feed.take()
        outcome = self.updater.update(
            batch.rows, self.plan.micro_batch_size, fraction, self.should_stop
        )
        if outcome is None:
            return None
        self.position = batch.position
        self.num_skipped = self.num_skipped + 1 if outcome.skip_reason else 0
        if outcome.skip_reason:
            note = f"step {self.step + 1:,}: {outcome.skip_reason}; the update is skipped"
            self.progress.note(note)
        skip_step.check_skipped(self.num_skipped, self.step + 1)
        return outcome

    def _measured(self) -> dict[str, float]:
        """What stands in the logs of this step: a run may be stopped before it is measured."""
        if not self.world.is_first:
            return {}
        lines = metrics.read(self.folder / "metrics.jsonl")
        found = {line["kind"]: line for line in lines if line["step"] == self.step}
        bits = {kind: line.get("bits_per_byte", math.nan) for kind, line in found.items()}
        samples = metrics.read(self.folder / "samples.jsonl")
        if any(line["step"] == self.step for line in samples):
            bits["sample"] = math.nan
        return bits

    def _measure(self, measured: dict[str, float]) -> float | None:
        """Validate and sample what is due after this step and not ``measured`` yet.

        Bits per byte, or None where they are not due or it was asked to stop.
        """
        plan, recipe = self.plan, self.recipe
        bits_per_byte = measured.get("validation")
        due = is_due(self.step, plan.num_steps, recipe.validation_interval)
        if due and not self.world.told(lambda: "validation" in measured):
            found = self._validate(plan, validation_tokens(recipe, plan.num_tokens))
            if found is None:
                return None
            bits_per_byte = found.bits_per_byte
            tokens = self.step * plan.tokens_per_step
            line = {"kind": "validation", "step": self.step, "tokens": tokens, **asdict(found)}
            self._log(line)
            self.progress.note(
                f"step {self.step:,} of {plan.num_steps:,}: validation "
                f"{found.loss:.3f} nats per token, {bits_per_byte:.3f} bits per byte"
            )
        due = is_due(self.step, plan.num_steps, recipe.sample_interval)
        if due and not self.world.told(lambda: "sample" in measured):
            self._sample()
        return bits_per_byte

    def _log(self, line: dict[str, Any]) -> None:
        if self.world.is_first:
            line["seconds"] = round(time.perf_counter() - self.began, 3)
            jsonl.append(self.folder / "metrics.jsonl", line)

    def _validate(self, plan: Plan, num_tokens: int) -> metrics.Validation | None:
        """In the first process, or in all together where each has only a part of the model."""
        if not (self.world.is_first or self.updater.is_shared):
            return metrics.Validation(0.0, 0.0)
        alone = self.world.size == 1
        return metrics.validate(
            self.updater.model,
            self.validation,
            self.inputs.tokenizer,
            num_tokens,
            min(plan.micro_batch_size, 32),
            intra_document_masking=self.recipe.intra_document_masking,
            should_stop=self.should_stop if alone else lambda: False,
        )

    def _sample(self) -> None:
        model = self.updater.model
        if self.updater.is_shared:
            whole = fsdp.whole_of(self.updater.parameters)
            model = GPT2(self.config)
            model.load_state_dict(whole)
        if not self.world.is_first:
            return
        engine = Engine.from_model(model, self.inputs.tokenizer)
        completion = engine.complete(SAMPLE_PROMPT, max_new_tokens=_SAMPLE_TOKENS)
        line = {"step": self.step, "prompt": SAMPLE_PROMPT, "completion": completion.text}
        jsonl.append(self.folder / "samples.jsonl", line)
        self.progress.note(f"sample at step {self.step:,}:\n{SAMPLE_PROMPT}{completion.text}")

    def _save(self) -> Path:
        now = TrainingState(
            identity=self.identities[0],
            step=self.step,
            seconds=self.seconds,
            position=self.position,
            plan=self.plan,
            num_skipped=self.num_skipped,
        )
        recipe = self.recipe
        return resume.save(self.checkpoints, now, self.updater, recipe.keep_last, recipe.keep_every)
