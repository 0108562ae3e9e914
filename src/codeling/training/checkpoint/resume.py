"""From a run in this process to a checkpoint and back, whether the model is whole or in parts.

The first of several processes writes, except where each has only a part of the model: then all
write theirs. Either kind is read by any number of processes, shared or not. What the files are
is the business of :mod:`codeling.training.checkpoint.state`.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from codeling.training.checkpoint import sharded_tensors, state
from codeling.training.checkpoint.state import TrainingState
from codeling.training.train_step import Updater

_MODEL = "model"


def save(
    folder: Path,
    now: TrainingState,
    updater: Updater,
    keep_last: int,
    keep_every: int | None = None,
) -> Path:
    """Write ``now``, given without tensors, with the tensors of ``updater``.

    All processes call it together. Returns the checkpoint, which is whole when the first
    process has returned.

    :raises StorageError: it cannot be written; earlier checkpoints stay as they are.
    """
    world = updater.world
    model = dict(updater.model.state_dict())
    optimizer = updater.optimizer.state()
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


def load(checkpoint: Path, updater: Updater) -> None:
    """Copy the tensors of ``checkpoint`` into ``updater``, in place.

    All processes call it together.

    :raises TrainingError: the checkpoint is of another network.
    """
    if updater.is_shared and state.is_sharded(checkpoint):
        _load_parts(checkpoint, updater)
    else:
        found = state.load(checkpoint)
        updater.load(found.model, found.optimizer)


def _load_parts(checkpoint: Path, updater: Updater) -> None:
    """Read the shards of this process from the shards that other processes wrote."""
    present = sharded_tensors.names(checkpoint)
    parameters = updater.parameters.items()
    model = {f"{_MODEL}/{name}": parameter.detach() for name, parameter in parameters}
    blank = updater.optimizer.blank_state()
    optimizer = {name: tensor for name, tensor in blank.items() if name in present}
    sharded_tensors.read(checkpoint, {**model, **optimizer})
    updater.take_over(optimizer)
