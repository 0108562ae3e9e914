"""One optimizer update: sequences in, weights changed, loss and gradient norm out.

Knows the network, its optimizer and the other processes; not where sequences come from, when to
stop, or what is logged. The host waits for the device once per step, when loss and norm decide
whether the update is applied, and never between passes.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2
from codeling.recipe import TrainingRecipe
from codeling.tokenizer.tokenizer import Tokenizer
from codeling.training import skip_step
from codeling.training.distributed import fsdp
from codeling.training.distributed.fsdp import ShardedOptimizer
from codeling.training.distributed.process_group import SINGLE_PROCESS, World, data_parallel
from codeling.training.loss import key_tokens
from codeling.training.loss.objective import LossOptions, Objective
from codeling.training.machine import Machine, native_dtype
from codeling.training.optimizer.optimizer import Optimizer

SHARDED_FROM_PARAMETERS = 1_000_000_000
"""Size from which ``parallel = "auto"`` shards the model: sixteen bytes per parameter (weights,
gradients, optimizer) leave little of most accelerators' memory."""


@dataclass(frozen=True)
class StepResult:
    """One step, applied or skipped."""

    loss: float
    """Nats per token, over all processes."""
    gradient_norm: float
    """Before clipping."""
    skip_reason: str | None
    """Why the update was not applied; None if it was."""


class TrainModule:
    """A model, its loss and its optimizer."""

    def __init__(
        self,
        recipe: TrainingRecipe,
        config: GPT2Config,
        tokenizer: Tokenizer,
        machine: Machine,
        world: World = SINGLE_PROCESS,
        weights: Mapping[str, Tensor] | None = None,
    ) -> None:
        """New model, drawn from the recipe's seed; ``weights`` replace those that they name.

        All processes call it together.
        """
        self.recipe, self.config, self.machine, self.world = recipe, config, machine, world
        self.boundary = tokenizer.end_of_text if recipe.intra_document_masking else None
        self.model = GPT2(config)
        self.model.initialize(recipe.seed)
        self.model.load_state_dict(weights or {}, strict=False)
        self.model.to(machine.device)
        self.model.compute_dtype = machine.dtype
        self.model.recompute_activations = recipe.activation_checkpointing
        if recipe.compile == "on" or (recipe.compile == "auto" and machine.device.type == "cuda"):
            self.model.compile_for_training()
        self._spellings = key_tokens.spellings(recipe.key_words, tokenizer)
        self.is_sharded = is_sharded(recipe, config, world)
        if self.is_sharded:
            fsdp.shard(self.model, world, machine.device)
        self._objective: nn.Module = Objective(
            self.model, LossOptions(recipe.z_loss, self.boundary)
        )
        if world.size > 1 and not self.is_sharded:
            self._objective = data_parallel(self._objective, machine.device)
        self.optimizer = self._new_optimizer()

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """Parameters by GPT-2's names."""
        return dict(self.model.named_parameters())

    def _new_optimizer(self) -> Optimizer | ShardedOptimizer:
        recipe = self.recipe
        assert recipe.adamw_lr is not None
        assert recipe.muon_lr is not None
        settings: dict[str, Any] = {
            "adamw_lr": recipe.adamw_lr,
            "muon_lr": recipe.muon_lr,
            "weight_decay": recipe.weight_decay,
            "muon_dtype": native_dtype(self.machine.device),
        }
        if self.is_sharded:
            return ShardedOptimizer(self.parameters, self.world, **settings)
        return Optimizer(self.parameters, **settings)

    def load(self, model: Mapping[str, Tensor], optimizer: Mapping[str, Tensor]) -> None:
        """Load weights and optimizer state, given as full tensors or as this rank's shards."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(fsdp.distributed_like(model[name], parameter))
        self.load_optimizer(optimizer)

    def load_optimizer(self, optimizer: Mapping[str, Tensor]) -> None:
        """Load optimizer state; the weights must be in place already."""
        if isinstance(self.optimizer, ShardedOptimizer):
            self.optimizer.refresh()
        self.optimizer.load_state(optimizer)

    def train_batch(
        self,
        sequences: NDArray[np.int64],
        micro_batch_size: int,
        fraction: float,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> StepResult | None:
        """Update at ``fraction`` of the peak rates on ``sequences`` (B, T + 1).

        All processes get the same sequences and take their share, ``micro_batch_size`` per pass.
        Return None, with nothing changed, if ``should_stop`` returns True between two passes;
        several processes do not call it, since they would have to agree.
        """
        own = self.world.local_slice(len(sequences))
        own_weights = None
        if self._spellings:
            weights = key_tokens.weigh(sequences, self._spellings, self.recipe.key_word_alpha)
            own_weights = self._to_device(torch.from_numpy(weights[own]))
        ids = self._to_device(torch.from_numpy(sequences[own]))
        losses: list[Tensor] = []
        for start in range(0, len(ids), micro_batch_size):
            if start and self.world.size == 1 and should_stop():
                self.optimizer.zero_gradients()
                return None
            part = slice(start, min(start + micro_batch_size, len(ids)))
            share = (part.stop - start) / len(ids)
            with self._synchronized(part.stop == len(ids)):
                objective, nats = self._objective(
                    ids[part], None if own_weights is None else own_weights[part]
                )
                # The mean of the processes' gradients is the gradient of all sequences.
                (objective * share).backward()
            losses.append(nats.detach() * share)
        norm = self.optimizer.clip_gradients(self.recipe.gradient_clip)
        return self._apply(losses, norm, fraction)

    def _apply(self, losses: list[Tensor], norm: Tensor, fraction: float) -> StepResult:
        """Apply the update unless it must be skipped; ``losses`` are shares of the loss."""
        size = self.world.size
        values = torch.stack([*losses, norm.to(losses[0])])
        values[:-1] = self.world.sum(values[:-1] / size) if size > 1 else values[:-1]
        *shares, gradient_norm = values.tolist()
        loss = 0.0
        for share in shares:  # not sum(), which rounds differently from Python 3.12 on
            loss += share
        reason = skip_step.skip_reason(loss, gradient_norm)
        if reason is None:
            self.optimizer.step(fraction)
        else:
            self.optimizer.zero_gradients()
        return StepResult(loss, gradient_norm, reason)

    def _to_device(self, tensor: Tensor) -> Tensor:
        if self.machine.device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self.machine.device, non_blocking=True)

    def _synchronized(self, is_last: bool) -> AbstractContextManager[None]:
        """Exchange gradients between processes in the last pass of a step alone."""
        if isinstance(self._objective, nn.parallel.DistributedDataParallel) and not is_last:
            return self._objective.no_sync()
        if self.is_sharded:
            self.model.set_requires_gradient_sync(is_last)  # type: ignore[operator]
        return nullcontext()


def is_sharded(recipe: TrainingRecipe, config: GPT2Config, world: World) -> bool:
    """Whether each process has only a shard of the model."""
    if world.size == 1 or recipe.parallel == "ddp":
        return False
    return recipe.parallel == "fsdp" or config.num_parameters >= SHARDED_FROM_PARAMETERS
