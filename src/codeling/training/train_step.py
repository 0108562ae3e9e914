"""One optimizer update: rows in, weights changed, loss and gradient norm out.

Knows the network, its optimizer and the other processes; not where rows come from, when to
stop, or what is written where. The processor waits for the device once in an update, when
loss and norm decide whether it is taken, and not while passes are under way.
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
from codeling.training.distributed.fsdp import SharedOptimizer
from codeling.training.distributed.process_group import ALONE, World, in_step
from codeling.training.loss import key_tokens
from codeling.training.loss.objective import Objective, Options
from codeling.training.machine import Machine, native_dtype
from codeling.training.optimizer.optimizer import Optimizer

SHARED_FROM_PARAMETERS = 1_000_000_000
"""From so many on ``parallel = "auto"`` shares the model: sixteen bytes a parameter (weights,
gradients, optimizer) leave little of most accelerators' memory beside them."""


@dataclass(frozen=True)
class Outcome:
    """One update, taken or not."""

    loss: float
    """Nats per token, over all processes."""
    norm: float
    """Of the gradient, before clipping."""
    skip_reason: str | None
    """Why the update was not applied; None if it was."""


class Updater:
    """A network in training."""

    def __init__(
        self,
        recipe: TrainingRecipe,
        config: GPT2Config,
        tokenizer: Tokenizer,
        machine: Machine,
        world: World = ALONE,
        begun: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Fresh weights drawn from the recipe's seed, but for those that are ``begun``; all
        processes call it together.
        """
        self.recipe, self.config, self.machine, self.world = recipe, config, machine, world
        self.boundary = tokenizer.end_of_text if recipe.intra_document_masking else None
        self.model = GPT2(config)
        self.model.initialize(recipe.seed)
        self.model.load_state_dict(begun or {}, strict=False)
        self.model.to(machine.device)
        self.model.compute_dtype = machine.dtype
        self.model.recompute_activations = recipe.activation_checkpointing
        if recipe.compile == "on" or (recipe.compile == "auto" and machine.device.type == "cuda"):
            self.model.compile_for_training()
        self._spelled = key_tokens.spellings(recipe.key_words, tokenizer)
        self.is_shared = is_shared(recipe, config, world)
        if self.is_shared:
            fsdp.share_out(self.model, world, machine.device)
        self._objective: nn.Module = Objective(self.model, Options(recipe.z_loss, self.boundary))
        if world.size > 1 and not self.is_shared:
            self._objective = in_step(self._objective, machine.device)
        self.optimizer = self._new_optimizer()

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """By GPT-2's names."""
        return dict(self.model.named_parameters())

    def _new_optimizer(self) -> Optimizer | SharedOptimizer:
        recipe = self.recipe
        assert recipe.adamw_lr is not None
        assert recipe.muon_lr is not None
        settings: dict[str, Any] = {
            "adamw_lr": recipe.adamw_lr,
            "muon_lr": recipe.muon_lr,
            "weight_decay": recipe.weight_decay,
            "muon_products": native_dtype(self.machine.device),
        }
        if self.is_shared:
            return SharedOptimizer(self.parameters, self.world, **settings)
        return Optimizer(self.parameters, **settings)

    def load(self, model: Mapping[str, Tensor], optimizer: Mapping[str, Tensor]) -> None:
        """Take over weights and optimizer, whole tensors or this process's parts."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(fsdp.part_of(model[name], parameter))
        self.take_over(optimizer)

    def take_over(self, optimizer: Mapping[str, Tensor]) -> None:
        """Take over an optimizer, after the weights have been put in place."""
        if isinstance(self.optimizer, SharedOptimizer):
            self.optimizer.refresh()
        self.optimizer.load_state(optimizer)

    def update(
        self,
        rows: NDArray[np.int64],
        at_once: int,
        fraction: float,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Outcome | None:
        """Update at ``fraction`` of the peak rates on ``rows`` (R, T + 1), the same ones in all
        processes, ``at_once`` at a time.

        None where ``should_stop`` says so between two passes: nothing has changed then. Several
        processes are not asked: they would have to agree.
        """
        weights = None
        if self._spelled:
            weighed = key_tokens.weigh(rows, self._spelled, self.recipe.key_word_alpha)
            weights = self._to_device(torch.from_numpy(weighed[self.world.share(len(rows))]))
        mine = self._to_device(torch.from_numpy(rows[self.world.share(len(rows))]))
        parts: list[Tensor] = []
        done = 0
        while done < len(mine):
            if done and self.world.size == 1 and should_stop():
                self.optimizer.zero_gradients()
                return None
            count = min(at_once, len(mine) - done)
            chosen = slice(done, done + count)
            with self._together(done + count == len(mine)):
                objective, nats = self._objective(
                    mine[chosen], None if weights is None else weights[chosen]
                )
                # The mean of the processes' gradients is that of their rows.
                (objective * (count / len(mine))).backward()
            parts.append(nats.detach() * (count / len(mine)))
            done += count
        norm = self.optimizer.clip_gradients(self.recipe.gradient_clip)
        return self._take(parts, norm, fraction)

    def _take(self, parts: list[Tensor], norm: Tensor, fraction: float) -> Outcome:
        size = self.world.size
        known = torch.stack([*parts, norm.to(parts[0])])
        known[:-1] = self.world.sum(known[:-1] / size) if size > 1 else known[:-1]
        *losses, gradient_norm = known.tolist()
        loss = 0.0
        for part in losses:  # not sum(), which adds in another way from Python 3.12 on
            loss += part
        reason = skip_step.skip_reason(loss, gradient_norm)
        if reason is None:
            self.optimizer.step(fraction)
        else:
            self.optimizer.zero_gradients()
        return Outcome(loss, gradient_norm, reason)

    def _to_device(self, tensor: Tensor) -> Tensor:
        if self.machine.device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self.machine.device, non_blocking=True)

    def _together(self, is_last: bool) -> AbstractContextManager[None]:
        """Gradients are exchanged in the last pass of an update alone."""
        if isinstance(self._objective, nn.parallel.DistributedDataParallel) and not is_last:
            return self._objective.no_sync()
        if self.is_shared:
            self.model.set_requires_gradient_sync(is_last)  # type: ignore[operator]
        return nullcontext()


def is_shared(recipe: TrainingRecipe, config: GPT2Config, world: World) -> bool:
    """Whether each process has only a part of the model."""
    if world.size == 1 or recipe.parallel == "ddp":
        return False
    return recipe.parallel == "fsdp" or config.num_parameters >= SHARED_FROM_PARAMETERS
