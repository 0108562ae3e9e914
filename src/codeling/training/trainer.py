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
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from codeling.dataset.infilling import Infilling
from codeling.dataset.loader import Loader, Mixture, Position
from codeling.dataset.tokens import TokenFile
from codeling.errors import TrainingError
from codeling.generation.engine import Engine
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2
from codeling.progress import SILENT, Progress
from codeling.recipe import TrainingRecipe
from codeling.tokenizer.tokenizer import Tokenizer
from codeling.training import metrics, state
from codeling.training.machine import Machine, matrix_rate, rows_at_once, set_up
from codeling.training.optimizer import Optimizer
from codeling.training.schedule import is_due, learning_rate, steps_asked
from codeling.training.state import Plan, TrainingState

SAMPLE_PROMPT = 'def read_lines(path):\n    """Return the lines of a text file."""\n'
_SAMPLE_TOKENS = 64
_CALIBRATION_STEPS = 4
"""At least so many are measured for the plan."""
_CALIBRATION_SHARE = 0.03
"""Of the minutes, at least so much time is measured: processors are quick for a few seconds."""
_MAX_BAD_STEPS = 3
_ORDER_FORMAT = 2
"""Raised with every change to what a step computes, so that no older state is gone on from."""


class StoppedError(TrainingError):
    """Training was asked to stop, and has saved its state."""


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
    progress: Progress = SILENT,
    should_stop: Callable[[], bool] = lambda: False,
) -> Result:
    """Train to the end of the plan, going on from the newest whole checkpoint in ``folder``.

    ``recipe`` is a resolved one. ``identity`` names what the run is made from; checkpoints of
    another identity are removed. ``should_stop`` is asked after every step. Leaves
    ``checkpoints/``, ``metrics.jsonl`` and ``samples.jsonl`` in ``folder``.

    :raises StoppedError: ``should_stop`` said so; the state is saved.
    :raises TrainingError: the loss left the numbers in three steps in a row.
    :raises StorageError: the state cannot be written.
    """
    run = _Run(recipe, config, inputs, folder, identity, progress)
    run.restore()
    return run.finish(should_stop)


def identify(recipe: TrainingRecipe, config: GPT2Config, inputs: dict[str, str]) -> str:
    """SHA-256 of everything that decides what a step computes; display and saving left out."""
    settings = recipe.model_dump(
        mode="json", exclude={"checkpoint_minutes", "keep_last", "sample_interval"}
    )
    text = json.dumps([_ORDER_FORMAT, settings, asdict(config), inputs], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class _Run:
    """One training run in this process."""

    def __init__(
        self,
        recipe: TrainingRecipe,
        config: GPT2Config,
        inputs: Inputs,
        folder: Path,
        identity: str,
        progress: Progress,
    ) -> None:
        self.recipe = recipe
        self.config = config
        self.inputs = inputs
        self.folder = folder
        self.identity = identity
        self.progress = progress
        self.machine: Machine = set_up(recipe.device, recipe.precision, recipe.threads)
        self.loader = self._loader(None)
        self.validation = Loader(inputs.validation, inputs.tokenizer, config.context_length, seed=0)
        self.step = 0
        self.seconds = 0.0
        self.go_to(self.loader.start())
        self.bad_steps = 0
        self.restored: Path | None = None
        self.plan: Plan
        self._build()

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    def _build(self) -> None:
        """A fresh network and optimizer."""
        self.model = GPT2(self.config)
        self.model.initialize(self.recipe.seed)
        self.model.to(self.machine.device)
        self.model.compute_dtype = self.machine.dtype
        assert self.recipe.adamw_lr is not None
        assert self.recipe.muon_lr is not None
        self.optimizer = Optimizer(
            self.model,
            adamw_lr=self.recipe.adamw_lr,
            muon_lr=self.recipe.muon_lr,
            weight_decay=self.recipe.weight_decay,
        )

    def _loader(self, mixture: Mixture | None) -> Loader:
        recipe, inputs = self.recipe, self.inputs
        infilling = Infilling(recipe.infilling_rate, recipe.suffix_first_rate, recipe.seed)
        context = self.config.context_length
        return Loader(inputs.train, inputs.tokenizer, context, recipe.seed, infilling, mixture)

    def _read_for(self, plan: Plan) -> None:
        """Read what a run of this length does best to read."""
        if self.inputs.owners is not None:
            tokens = plan.num_steps * plan.tokens_per_step
            exponent = self.recipe.mixture_exponent
            self.loader = self._loader(Mixture(self.inputs.owners, tokens, exponent))

    def go_to(self, position: Position) -> None:
        """Take the next row from ``position``."""
        self.position = position
        self.rows = self.loader.shuffled_rows(position)

    def restore(self) -> None:
        """Go on from the newest whole checkpoint of this run, or plan a new one."""
        newest, complaints = state.newest_whole(self.checkpoints)
        for complaint in complaints:
            self.progress.note(complaint)
        found = state.load(newest) if newest else None
        if found is None or found.identity != self.identity:
            if found is not None:
                self.progress.note("the checkpoints belong to other settings; training anew")
            shutil.rmtree(self.checkpoints, ignore_errors=True)
            self.plan = self._make_plan()
            self._read_for(self.plan)
            self.go_to(self.loader.start())
        else:
            self.model.load_state_dict(dict(found.model))
            self.optimizer.load_state(found.optimizer)
            self.step, self.seconds = found.step, found.seconds
            self.plan, self.restored = found.plan, newest
            self._read_for(self.plan)
            self.go_to(found.position)
            self.progress.note(f"going on from step {self.step:,} of {self.plan.num_steps:,}")
        for name in ("metrics.jsonl", "samples.jsonl"):
            metrics.keep_until(self.folder / name, self.step)

    def _make_plan(self) -> Plan:
        tokens_per_step = self.recipe.tokens_per_step
        assert tokens_per_step is not None, "train() takes a resolved recipe"
        rows = tokens_per_step // self.config.context_length
        at_once = rows_at_once(self.recipe.micro_batch_size, rows, self.machine.device)
        plan = Plan(0, tokens_per_step, at_once, matrix_rate(self.machine))
        num_steps = steps_asked(self.recipe, tokens_per_step)
        if num_steps is None:
            num_steps = self._steps_that_fit(plan, time.perf_counter())
        return Plan(num_steps, plan.tokens_per_step, plan.micro_batch_size, plan.matrix_flops)

    def _steps_that_fit(self, plan: Plan, start: float) -> int:
        """Measure a few steps and one validation, and fit as many as the minutes allow.

        What these steps did to the network is thrown away.
        """
        self.plan = plan
        self.progress.note("measuring this machine's rate for the plan")
        assert self.recipe.minutes is not None
        self._update(fraction=0.0)  # allocates; not measured
        num_steps, elapsed, began = 0, 0.0, time.perf_counter()
        enough = _CALIBRATION_SHARE * 60 * self.recipe.minutes
        while num_steps < _CALIBRATION_STEPS or elapsed < enough:
            self._update(fraction=0.0)
            num_steps += 1
            elapsed = time.perf_counter() - began
        began = time.perf_counter()
        self._validate(num_tokens=self.recipe.validation_tokens // 4)
        validating = 4 * (time.perf_counter() - began)
        self._build()
        left = self.recipe.minutes * 60 - (time.perf_counter() - start)
        left -= validating / self.recipe.validation_interval
        return max(1, int(left * num_steps / elapsed))

    def finish(self, should_stop: Callable[[], bool]) -> Result:
        """Step until the plan's end; save at intervals, at the end and when asked to stop."""
        plan = self.plan
        began = time.perf_counter() - self.seconds
        bits_per_byte = math.nan
        # The plan is part of the state: kept from the start, it is not measured a second time.
        checkpoint = self.restored or self._save()
        saved = time.perf_counter()
        total = plan.num_steps * plan.tokens_per_step
        with self.progress.task("training", total, "tokens") as advance:
            advance(self.step * plan.tokens_per_step)
            while self.step < plan.num_steps:
                bits_per_byte = self._one_step(advance, began)
                self.seconds = time.perf_counter() - began
                minutes_since = (time.perf_counter() - saved) / 60
                stopping = should_stop() and self.step < plan.num_steps
                if stopping or minutes_since >= self.recipe.checkpoint_minutes:
                    checkpoint = self._save()
                    saved = time.perf_counter()
                if stopping:
                    raise StoppedError(
                        f"stopped at step {self.step:,} of {plan.num_steps:,}; the state is saved, "
                        "the same command goes on from here"
                    )
        if checkpoint.name != state.folder_name(self.step):
            checkpoint = self._save()
        if math.isnan(bits_per_byte):
            bits_per_byte = self._validate(self.recipe.validation_tokens).bits_per_byte
        return Result(checkpoint, plan.num_steps, total, bits_per_byte, self.seconds)

    def _one_step(self, advance: Callable[..., None], began: float) -> float:
        """Update once, log it, and measure what is due; bits per byte, or NaN where not due."""
        plan, recipe = self.plan, self.recipe
        fraction = learning_rate(self.step, plan.num_steps, recipe.warmup_fraction)
        start = time.perf_counter()
        loss, norm = self._update(fraction)
        rate = plan.tokens_per_step / (time.perf_counter() - start)
        self.step += 1
        tokens = self.step * plan.tokens_per_step
        utilisation = rate * self.config.train_flops_per_token / plan.matrix_flops
        metrics.append(
            self.folder / "metrics.jsonl",
            {
                "kind": "step",
                "step": self.step,
                "tokens": tokens,
                "loss": loss if math.isfinite(loss) else None,
                "learning_rate": fraction,
                "gradient_norm": norm if math.isfinite(norm) else None,
                "tokens_per_second": round(rate, 1),
                "mfu": round(utilisation, 4),
                "seconds": round(time.perf_counter() - began, 3),
            },
        )
        advance(plan.tokens_per_step, f"loss {loss:.3f}  MFU {utilisation:.0%}")
        bits_per_byte = math.nan
        if is_due(self.step, plan.num_steps, recipe.validation_interval):
            measured = self._validate(recipe.validation_tokens)
            bits_per_byte = measured.bits_per_byte
            line = {"kind": "validation", "step": self.step, "tokens": tokens, **asdict(measured)}
            line["seconds"] = round(time.perf_counter() - began, 3)
            metrics.append(self.folder / "metrics.jsonl", line)
            self.progress.note(
                f"step {self.step:,} of {plan.num_steps:,}: validation "
                f"{measured.loss:.3f} nats per token, {bits_per_byte:.3f} bits per byte"
            )
        if is_due(self.step, plan.num_steps, recipe.sample_interval):
            self._sample()
        return bits_per_byte

    def _update(self, fraction: float) -> tuple[float, float]:
        """One optimizer update at ``fraction`` of the peak rates; loss and gradient norm.

        A loss or gradient that is no finite number leaves the weights as they are.
        """
        rows = self.plan.tokens_per_step // self.config.context_length
        at_once = self.plan.micro_batch_size
        loss, done = 0.0, 0
        position: Position = self.position
        while done < rows:
            count = min(at_once, rows - done)
            taken = list(islice(self.rows, count))
            position = taken[-1][1]
            ids = torch.from_numpy(np.stack([row for row, _ in taken]))
            ids = ids.to(self.machine.device, non_blocking=True)
            part = self.model.loss(ids[:, :-1], ids[:, 1:]) * (count / rows)
            part.backward()  # type: ignore[no-untyped-call]
            loss += float(part.detach())
            done += count
        self.position = position
        norm = self.optimizer.clip_gradients(self.recipe.gradient_clip)
        if math.isfinite(loss) and math.isfinite(norm):
            self.optimizer.step(fraction)
            self.bad_steps = 0
            return loss, norm
        self.optimizer.zero_gradients()
        self.bad_steps += 1
        self.progress.note(f"step {self.step + 1:,}: the loss is {loss}; the update is left out")
        if self.bad_steps == _MAX_BAD_STEPS:
            raise TrainingError(
                f"the loss was no number in {_MAX_BAD_STEPS} steps in a row (at step "
                f"{self.step + 1:,}); lower training.muon_lr and training.adamw_lr, or try "
                "training.precision=fp32"
            )
        return loss, norm

    def _validate(self, num_tokens: int) -> metrics.Validation:
        rows = min(self.plan.micro_batch_size, 32)
        return metrics.validate(
            self.model, self.validation, self.inputs.tokenizer, num_tokens, rows
        )

    def _sample(self) -> None:
        engine = Engine(self.model, self.inputs.tokenizer)
        completion = engine.complete(SAMPLE_PROMPT, max_new_tokens=_SAMPLE_TOKENS)
        line = {"step": self.step, "prompt": SAMPLE_PROMPT, "completion": completion.text}
        metrics.append(self.folder / "samples.jsonl", line)
        self.progress.note(f"sample at step {self.step:,}:\n{SAMPLE_PROMPT}{completion.text}")

    def _save(self) -> Path:
        now = TrainingState(
            identity=self.identity,
            step=self.step,
            seconds=self.seconds,
            position=self.position,
            plan=self.plan,
            model={k: v.cpu() for k, v in self.model.state_dict().items()},
            optimizer={k: v.cpu().contiguous() for k, v in self.optimizer.state().items()},
        )
        return state.save(self.checkpoints, now, self.recipe.keep_last)
