"""Several processes that train one model: who they are, and what they tell each other.

Started by ``torchrun``, which says in the environment how many there are. Every process takes
its share of the rows of a step; which rows a step has is a function of the seed and the step
alone, so any number of processes sees the same tokens. The first process (rank 0) measures,
decides, writes and talks; the others are told. gloo on processors, NCCL on CUDA. This module
must not know about recipes, files or losses.
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

_A_LONG_TIME = timedelta(days=30)
"""That the others wait for the first one, which may have a corpus to build."""
_WORD = "codeling/word"
_meshes: list[Any] = []
"""Made since this process joined the others."""


@dataclass(frozen=True)
class World:
    """All processes of a run, seen from one of them."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and talks."""
        return self.rank == 0

    def share(self, rows: int) -> slice:
        """Which of the ``rows`` of a step are this process's.

        :raises UsageError: they cannot be shared evenly.
        """
        if rows % self.size:
            raise UsageError(
                f"{rows} rows a step cannot be shared by {self.size} processes; set "
                "training.tokens_per_step to a multiple of the context length times the processes"
            )
        count = rows // self.size
        return slice(self.rank * count, (self.rank + 1) * count)

    def sum(self, values: Tensor) -> Tensor:
        """The sum of what every process gives, in each."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def told(self, value: Callable[[], Any]) -> Any:
        """What the first process computes, in each; ``value`` gives something JSON can hold.

        The others do not compute it.
        """
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

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            dist.barrier()


ALONE = World()


def join(device: torch.device) -> World:
    """This process's world as ``torchrun`` says; itself alone where nothing does.

    ``device`` is the one that it computes on.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return ALONE
    if not dist.is_initialized():
        # Default arguments there keep for ever the group that there is at the import.
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
    """Let go of the other processes, and end the threads that talked to them.

    gloo's threads need the interpreter to let go of a tensor: one that does so when the
    interpreter is already on its way out ends the whole process (SIGABRT, "terminate called
    without an active exception"). They end with the group, and that when nothing refers to it
    any more. Called at the interpreter's exit at the latest.
    """
    if not dist.is_initialized():
        return
    dist.destroy_process_group()
    while _meshes:  # torch's caches keep them for ever, and they the group
        getattr(_meshes.pop(), "_pg_registry", {}).clear()
    gc.collect()


def say(word: str) -> None:
    """Tell the other processes ``word``, which :func:`hear` waits for; the first one counts."""
    store, _, _ = _rendezvous()
    store.compare_set(_WORD, "", word)


def hear() -> str:
    """Wait for what the first process says."""
    store, _, _ = _rendezvous()
    store.wait([_WORD], _A_LONG_TIME)
    return bytes(store.get(_WORD)).decode()


@cache
def _rendezvous() -> tuple[Any, int, int]:
    """The key-value store of all processes, this one's rank, and how many there are."""
    return next(rendezvous("env://"))  # type: ignore[no-any-return]


def mesh(world: World, device: torch.device) -> Any:
    """All processes in one row (``DeviceMesh``)."""
    from torch.distributed.device_mesh import init_device_mesh

    _meshes.append(init_device_mesh(device.type, (world.size,)))
    return _meshes[-1]


def in_step(module: nn.Module, device: torch.device) -> nn.Module:
    """``module`` with gradients that are the mean over all processes (DDP)."""
    ids = [device] if device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(module, device_ids=ids, gradient_as_bucket_view=True)
