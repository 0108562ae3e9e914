"""One model sharded over several processes (FSDP2), and the optimizer over its shards.

Every process keeps a shard of each parameter; a block is gathered while it is computed. AdamW works
on the shards. Muon needs full matrices: each matrix of a block has one rank that gathers its
gradient, updates it, and distributes the shards again, so no matrix is orthogonalised twice and
the arithmetic is that of one process. This module must not know about data or steps. Source:
Rajbhandari et al. 2020 (ZeRO); Liu et al. 2025 (distributed Muon).
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from codeling.model.gpt2 import GPT2
from codeling.training.distributed.process_group import World, device_mesh
from codeling.training.optimizer.optimizer import Optimizer, is_hidden_matrix


def shard(model: GPT2, world: World, device: torch.device) -> None:
    """Shard every parameter of ``model`` over the processes, in place."""
    from torch.distributed.fsdp import (
        MixedPrecisionPolicy,
        fully_shard,
        register_fsdp_forward_method,
    )

    mesh = device_mesh(world, device)
    policy = MixedPrecisionPolicy()
    if model.compute_dtype != torch.float32:
        policy = MixedPrecisionPolicy(model.compute_dtype, torch.float32, cast_forward_inputs=False)
    for block in model.h:
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)
    for method in ("loss", "objective", "token_nats"):
        register_fsdp_forward_method(model, method)


def distributed_like(full: Tensor, like: Tensor) -> Tensor:
    """Shard ``full`` like ``like``; each process has all of ``full`` already."""
    if not _is_sharded(like):
        return full
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(like, DTensor)
    full = full.to(like.device)
    return distribute_tensor(full, like.device_mesh, like.placements, src_data_rank=None)


def full_tensors(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every parameter unsharded, in every process; all processes call it together."""
    return {name: _full(value.detach()) for name, value in parameters.items()}


class ShardedOptimizer:
    """:class:`Optimizer` on parameters that :func:`shard` has sharded."""

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], world: World, **settings: Any
    ) -> None:
        """``settings`` are those of :class:`Optimizer`. All processes call it together."""
        self._parameters = dict(parameters)
        matrices = [name for name, p in parameters.items() if is_hidden_matrix(name, p)]
        self._owners = {name: number % world.size for number, name in enumerate(matrices)}
        self._rank = world.rank
        self._full: dict[str, nn.Parameter] = {}
        """Full copies of the matrices that this rank owns."""
        for name in matrices:
            tensor = _full(parameters[name].detach())
            if self._owners[name] == world.rank:
                self._full[name] = nn.Parameter(tensor.clone())
        others = {name: p for name, p in parameters.items() if name not in self._owners}
        self._inner = Optimizer({**others, **self._full}, **settings)

    @torch.no_grad()
    def refresh(self) -> None:
        """Copy weights that were loaded into the shards."""
        for name in self._owners:
            tensor = _full(self._parameters[name].detach())
            if name in self._full:
                self._full[name].copy_(tensor)

    def clip_gradients(self, max_norm: float) -> Tensor:
        """Like :meth:`Optimizer.clip_gradients`, over all shards."""
        return _full(nn.utils.clip_grad_norm_(self._parameters.values(), max_norm))

    @torch.no_grad()
    def step(self, fraction: float) -> None:
        """Like :meth:`Optimizer.step`; all processes call it together."""
        for name in self._owners:
            gradient = self._parameters[name].grad
            assert gradient is not None
            full = _full(gradient)
            if name in self._full:
                self._full[name].grad = full
            self._parameters[name].grad = None
        self._inner.step(fraction)
        for name, owner in self._owners.items():
            parameter = self._parameters[name].detach()
            mine = self._full.get(name)
            tensor = _empty(parameter) if mine is None else mine.detach()
            dist.broadcast(tensor, owner)
            _local(parameter).copy_(_local(distributed_like(tensor, parameter)))

    def zero_gradients(self) -> None:
        """Clear the gradients without an update."""
        for parameter in self._parameters.values():
            parameter.grad = None
        self._inner.zero_gradients()

    def state(self) -> dict[str, Tensor]:
        """This rank's shard of every buffer; buffers of the matrices that it owns are full."""
        return self._inner.state()

    def blank_state(self) -> dict[str, Tensor]:
        """Zeros with the keys and shapes of :meth:`state` after a step."""
        return self._inner.blank_state()

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Load this rank's part of ``state``, whose buffers may be sharded or full.

        :raises TrainingError: ``state`` belongs to another model.
        """
        if not state:
            return
        chosen = {}
        for key, blank in self.blank_state().items():
            value = state.get(key)
            if value is not None:
                chosen[key] = value if _is_sharded(value) else distributed_like(value, blank)
        self._inner.load_state(chosen)


def _is_sharded(tensor: Tensor) -> bool:
    """Whether ``tensor`` is a ``DTensor``; importing that class takes a second."""
    return hasattr(tensor, "full_tensor")


def _full(tensor: Any) -> Tensor:
    return tensor.full_tensor() if _is_sharded(tensor) else tensor  # type: ignore[no-any-return]


def _local(tensor: Any) -> Tensor:
    return tensor.to_local() if _is_sharded(tensor) else tensor  # type: ignore[no-any-return]


def _empty(tensor: Tensor) -> Tensor:
    """An empty full tensor of the same shape, device and type."""
    return torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)
