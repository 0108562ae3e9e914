"""Several processes that train one model: their ranks, and how they communicate.

``torchrun`` starts them and sets their number in the environment. Every process takes its share of
the sequences of a step; which sequences a step has is a function of the seed and the step alone, so
any number of processes sees the same tokens. The first process (rank 0) measures, decides, writes
and prints; the others receive its decisions. gloo on processors, NCCL on CUDA. This module must
not know about recipes, files or losses.
"""

import atexit
import gc
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import PrefixStore, rendezvous  # type: ignore[attr-defined]

from codeling.errors import UsageError
from codeling.quantity import quantity

_SIGNAL_TIMEOUT = timedelta(days=30)
"""The first process may have a corpus to build before it signals."""
_SIGNAL_KEY = "codeling/signal"
_meshes: list[Any] = []
"""Device meshes of this process group."""


@dataclass(frozen=True)
class World:
    """The processes of a run, seen from one of them."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def check_divides(self, num_sequences: int) -> None:
        """Check that every process gets the same number of the ``num_sequences`` of a step.

        :raises UsageError: they do not divide evenly.
        """
        if num_sequences % self.size:
            raise UsageError(
                f"{quantity(num_sequences, 'sequence')} per step cannot be divided among "
                f"{quantity(self.size, 'process')}; set training.tokens_per_step to a multiple of "
                "the context length times the number of processes"
            )

    def local_slice(self, num_sequences: int) -> slice:
        """The part of ``num_sequences``, a multiple of the size, that is this process's."""
        count = num_sequences // self.size
        return slice(self.rank * count, (self.rank + 1) * count)

    def sum(self, values: Tensor) -> Tensor:
        """Sum ``values`` over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def broadcast(self, value: Callable[[], Any]) -> Any:
        """Compute ``value`` (JSON) in the first process alone and return it in all of them."""
        if self.size == 1:
            return value()
        text = json.dumps(value()).encode() if self.is_first else b""
        device = torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
        length = torch.tensor([len(text)], device=device)
        dist.broadcast(length, 0)
        data = torch.zeros(int(length), dtype=torch.uint8, device=device)
        if self.is_first:
            data.copy_(torch.frombuffer(bytearray(text), dtype=torch.uint8))
        dist.broadcast(data, 0)
        return json.loads(bytes(data.cpu().tolist()))

    def barrier(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            dist.barrier()


SINGLE_PROCESS = World()


def join(device: torch.device) -> World:
    """Join the processes that ``torchrun`` started; without it, this process is alone.

    ``device`` is the device that this process computes on.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return SINGLE_PROCESS
    if not dist.is_initialized():
        # Its default arguments keep forever the group that exists when it is imported.
        import torch.distributed.nn.functional

        store, rank, size = _rendezvous()
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            store=PrefixStore("training", store),
            rank=rank,
            world_size=size,
            device_id=device if device.type == "cuda" else None,
        )
        atexit.register(leave)
    return World(dist.get_rank(), size)


def leave() -> None:
    """Leave the process group and end its threads; called at the interpreter's exit at the latest.

    gloo's threads need the interpreter to release a tensor. A thread that does so during the
    interpreter's shutdown ends the process (SIGABRT, "terminate called without an active
    exception"). The threads end with the group, and the group ends when nothing refers to it.
    """
    if not dist.is_initialized():
        return
    dist.destroy_process_group()
    while _meshes:  # torch's caches keep the meshes, and these keep the group
        getattr(_meshes.pop(), "_pg_registry", {}).clear()
    gc.collect()


def signal(message: str) -> None:
    """Send ``message`` to the processes in :func:`wait`; later messages are ignored."""
    store, _, _ = _rendezvous()
    store.compare_set(_SIGNAL_KEY, "", message)


def wait() -> str:
    """Wait for the message of the first process."""
    store, _, _ = _rendezvous()
    store.wait([_SIGNAL_KEY], _SIGNAL_TIMEOUT)
    return bytes(store.get(_SIGNAL_KEY)).decode()


@cache
def _rendezvous() -> tuple[Any, int, int]:
    """Return the key-value store of all processes, this one's rank, and their number."""
    return next(rendezvous("env://"))  # type: ignore[no-any-return]


def device_mesh(world: World, device: torch.device) -> Any:
    """One-dimensional ``DeviceMesh`` of all processes."""
    from torch.distributed.device_mesh import init_device_mesh

    _meshes.append(init_device_mesh(device.type, (world.size,)))
    return _meshes[-1]


def data_parallel(module: nn.Module, device: torch.device) -> nn.Module:
    """Wrap ``module`` so that gradients are averaged over all processes (DDP)."""
    ids = [device] if device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(module, device_ids=ids, gradient_as_bucket_view=True)
