"""Save and load the checkpoints of a run, sharded or not.

The first process writes the checkpoint; with a sharded model, every process writes its shards. Any
number of processes, sharded or not, can read either kind. The files are defined by
:mod:`codeling.training.checkpoint.state`.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from codeling.training.checkpoint import sharded_tensors, state
from codeling.training.checkpoint.state import TrainingState
from codeling.training.train_module import TrainModule

_MODEL = "model"


def save(
    folder: Path,
    now: TrainingState,
    module: TrainModule,
    keep_last: int,
    keep_every: int | None = None,
) -> Path:
    """Write a checkpoint of ``now``, which has no tensors, and of the tensors of ``module``.

    All processes call it together. The returned checkpoint is complete when the first process
    returns.

    :raises StorageError: the checkpoint cannot be written; earlier ones stay as they are.
    """
    world = module.world
    model = dict(module.model.state_dict())
    optimizer = module.optimizer.state()
    if not module.is_sharded:
        if not world.is_first:
            return folder / state.folder_name(now.step)
        now = replace(now, model=_on_processor(model), optimizer=_on_processor(optimizer))
        return state.save(folder, now, keep_last, keep_every)
    tensors = {**{f"{_MODEL}/{name}": tensor for name, tensor in model.items()}, **optimizer}

    def write(partial: Path) -> None:
        world.barrier()  # the folder exists
        sharded_tensors.write(partial, tensors)

    if world.is_first:
        return state.save(folder, now, keep_last, keep_every, write_tensors=write)
    write(state.partial_folder(folder, now.step))
    return folder / state.folder_name(now.step)


def _on_processor(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def load(checkpoint: Path, module: TrainModule) -> None:
    """Copy the tensors of ``checkpoint`` into ``module``, in place.

    All processes call it together.

    :raises TrainingError: the checkpoint belongs to another model.
    """
    if module.is_sharded and state.is_sharded(checkpoint):
        _load_shards(checkpoint, module)
    else:
        found = state.load(checkpoint)
        module.load(found.model, found.optimizer)


def _load_shards(checkpoint: Path, module: TrainModule) -> None:
    """Read this process's shards from a sharded checkpoint."""
    present = sharded_tensors.names(checkpoint)
    parameters = module.parameters.items()
    model = {f"{_MODEL}/{name}": parameter.detach() for name, parameter in parameters}
    blank = module.optimizer.blank_state()
    optimizer = {name: tensor for name, tensor in blank.items() if name in present}
    sharded_tensors.read(checkpoint, {**model, **optimizer})
    module.load_optimizer(optimizer)
