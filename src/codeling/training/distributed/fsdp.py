"""One model in pieces over several processes (FSDP2), and the optimizer over the pieces.

Every process keeps a part of each parameter; a block is put together while it is computed.
AdamW works on the parts as they are. Muon needs whole matrices: each block's matrix has one
process that gathers its gradient, updates it, and hands the parts out again, so that no matrix
is orthogonalised twice and the arithmetic is that of one process. This module must not know
about data or steps. Source: Rajbhandari et al. 2020 (ZeRO); Liu et al. 2025 (distributed Muon).
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from codeling.model.gpt2 import GPT2
from codeling.training.distributed.process_group import World, mesh
from codeling.training.optimizer.optimizer import Optimizer, is_hidden_matrix


def share_out(model: GPT2, world: World, device: torch.device) -> None:
    """Leave to this process its part of every parameter of ``model``, in place."""
    from torch.distributed.fsdp import (
        MixedPrecisionPolicy,
        fully_shard,
        register_fsdp_forward_method,
    )

    row = mesh(world, device)
    policy = MixedPrecisionPolicy()
    if model.compute_dtype != torch.float32:
        policy = MixedPrecisionPolicy(model.compute_dtype, torch.float32, cast_forward_inputs=False)
    for block in model.h:
        fully_shard(block, mesh=row, mp_policy=policy)
    fully_shard(model, mesh=row, mp_policy=policy)
    for method in ("loss", "objective", "token_nats"):
        register_fsdp_forward_method(model, method)


def part_of(whole: Tensor, like: Tensor) -> Tensor:
    """``whole`` in the pieces of ``like``; each process has all of it already."""
    if not _is_part(like):
        return whole
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(like, DTensor)
    whole = whole.to(like.device)
    return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None)


def whole_of(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All of every parameter, in every process; all call it together."""
    return {name: _whole(value.detach()) for name, value in parameters.items()}


class SharedOptimizer:
    """What :class:`Optimizer` does, on parameters that :func:`share_out` has cut."""

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], world: World, **settings: Any
    ) -> None:
        """``settings`` as of :class:`Optimizer`. All processes call it together."""
        self._parameters = dict(parameters)
        matrices = [name for name, p in parameters.items() if is_hidden_matrix(name, p)]
        self._owners = {name: number % world.size for number, name in enumerate(matrices)}
        self._rank = world.rank
        self._whole: dict[str, nn.Parameter] = {}
        """Of this process's own matrices, all of it."""
        for name in matrices:
            tensor = _whole(parameters[name].detach())
            if self._owners[name] == world.rank:
                self._whole[name] = nn.Parameter(tensor.clone())
        others = {name: p for name, p in parameters.items() if name not in self._owners}
        self._inner = Optimizer({**others, **self._whole}, **settings)

    @torch.no_grad()
    def refresh(self) -> None:
        """Take over weights that were loaded into the parts."""
        for name in self._owners:
            tensor = _whole(self._parameters[name].detach())
            if name in self._whole:
                self._whole[name].copy_(tensor)

    def clip_gradients(self, max_norm: float) -> Tensor:
        """As :meth:`Optimizer.clip_gradients`, over all parts."""
        return _whole(nn.utils.clip_grad_norm_(self._parameters.values(), max_norm))

    @torch.no_grad()
    def step(self, fraction: float) -> None:
        """As :meth:`Optimizer.step`; all processes together."""
        for name in self._owners:
            gradient = self._parameters[name].grad
            assert gradient is not None
            whole = _whole(gradient)
            if name in self._whole:
                self._whole[name].grad = whole
            self._parameters[name].grad = None
        self._inner.step(fraction)
        for name, owner in self._owners.items():
            parameter = self._parameters[name].detach()
            mine = self._whole.get(name)
            tensor = _empty(parameter) if mine is None else mine.detach()
            dist.broadcast(tensor, owner)
            _local(parameter).copy_(_local(part_of(tensor, parameter)))

    def zero_gradients(self) -> None:
        """Drop the gradients without an update."""
        for parameter in self._parameters.values():
            parameter.grad = None
        self._inner.zero_gradients()

    def state(self) -> dict[str, Tensor]:
        """This process's part of every buffer; of matrices, its own ones whole."""
        return self._inner.state()

    def blank_state(self) -> dict[str, Tensor]:
        """Zeros in the shapes that :meth:`state` has after a step."""
        return self._inner.blank_state()

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over this process's part, from parts or from whole buffers.

        :raises TrainingError: it is the state of another network.
        """
        if not state:
            return
        chosen = {}
        for key, blank in self.blank_state().items():
            value = state.get(key)
            if value is not None:
                chosen[key] = value if _is_part(value) else part_of(value, blank)
        self._inner.load_state(chosen)


def _is_part(tensor: Tensor) -> bool:
    """Whether it is a ``DTensor``, whose import takes a second."""
    return hasattr(tensor, "full_tensor")


def _whole(tensor: Any) -> Tensor:
    return tensor.full_tensor() if _is_part(tensor) else tensor  # type: ignore[no-any-return]


def _local(tensor: Any) -> Tensor:
    return tensor.to_local() if _is_part(tensor) else tensor  # type: ignore[no-any-return]


def _empty(tensor: Tensor) -> Tensor:
    """An empty tensor of the same shape, device and type that is whole."""
    return torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)
