"""From a run in this process to a checkpoint and back, whether the model is whole or in parts.

The first of several processes writes, except where each has only a part of the model: then all
write theirs. Either kind is read by any number of processes, shared or not. What the files are
is the business of :mod:`codeling.training.checkpoint.state`.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from codeling.training.checkpoint import sharded_tensors, state
from codeling.training.checkpoint.state import AVERAGE, TrainingState
from codeling.training.distributed.fsdp import part_of
from codeling.training.optimizer.weight_averaging import TailAverage
from codeling.training.train_step import Updater

_MODEL = "model"


def save(
    folder: Path,
    now: TrainingState,
    updater: Updater,
    average: TailAverage,
    keep_last: int,
    keep_every: int | None = None,
) -> Path:
    """Write ``now``, given without tensors, with those of ``updater`` and ``average``.

    All processes call it together. Returns the checkpoint, which is whole when the first
    process has returned.

    :raises StorageError: it cannot be written; earlier checkpoints stay as they are.
    """
    world = updater.world
    averaged = {f"{AVERAGE}/{name}": tensor for name, tensor in average.tensors.items()}
    model = dict(updater.model.state_dict())
    optimizer = {**updater.optimizer.state(), **averaged}
    if not updater.is_shared:
        if not world.is_first:
            return folder / state.folder_name(now.step)
        now = replace(now, model=_on_processor(model), optimizer=_on_processor(optimizer))
        return state.save(folder, now, keep_last, keep_every)
    tensors = {**{f"{_MODEL}/{name}": tensor for name, tensor in model.items()}, **optimizer}

    def write(partial: Path) -> None:
        world.wait()  # the folder is there
        sharded_tensors.write(partial, tensors)

    if world.is_first:
        return state.save(folder, now, keep_last, keep_every, write_tensors=write)
    write(state.partial_folder(folder, now.step))
    return folder / state.folder_name(now.step)


def _on_processor(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def load(checkpoint: Path, updater: Updater, average: TailAverage) -> None:
    """Take the tensors of ``checkpoint`` over into ``updater`` and ``average``, in place.

    All processes call it together.

    :raises TrainingError: they are those of another network.
    """
    averaged: Mapping[str, Tensor]
    if updater.is_shared and state.is_sharded(checkpoint):
        averaged = _load_parts(checkpoint, updater)
    else:
        found = state.load(checkpoint)
        averaged = _of_kind(AVERAGE, found.optimizer)
        kept = {k: v for k, v in found.optimizer.items() if not k.startswith(f"{AVERAGE}/")}
        updater.load(found.model, kept)
    for name, parameter in updater.parameters.items():
        if name in averaged:
            average.tensors[name] = part_of(averaged[name].to(parameter.device), parameter)


def _load_parts(checkpoint: Path, updater: Updater) -> dict[str, Tensor]:
    """Read this process's parts from the parts of other processes; the averages are returned."""
    present = sharded_tensors.names(checkpoint)
    parameters = {name: p.detach() for name, p in updater.parameters.items()}
    model = {f"{_MODEL}/{name}": tensor for name, tensor in parameters.items()}
    averages = {f"{AVERAGE}/{name}": torch.zeros_like(p) for name, p in parameters.items()}
    blank = {**updater.optimizer.blank_state(), **averages}
    rest = {name: tensor for name, tensor in blank.items() if name in present}
    sharded_tensors.read(checkpoint, {**model, **rest})
    averaged = _of_kind(AVERAGE, rest)
    updater.take_over({k: v for k, v in rest.items() if not k.startswith(f"{AVERAGE}/")})
    return averaged


def _of_kind(kind: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = kind + "/"
    return {k[len(start) :]: v for k, v in tensors.items() if k.startswith(start)}
