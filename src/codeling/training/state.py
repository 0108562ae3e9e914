"""Checkpoints: everything a run needs to go on as if it had not stopped.

A checkpoint is a folder ``step-00000500`` with ``model.safetensors``, ``optimizer.safetensors``,
``state.json`` and, written last, ``manifest.json`` with the SHA-256 of the other three. It is
written under another name, synced and renamed, so a folder of that name is whole; the manifest
tells damage that came later. There are no random generators in the state: every random
choice of a run is a function of the seed and a position, and the positions are in it.
"""

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from codeling.dataset.loader import Position
from codeling.errors import storage_errors
from codeling.manifest import MANIFEST_NAME, replacing, sha256_file, sync_folder, write_json

MODEL_FILE = "model.safetensors"
OPTIMIZER_FILE = "optimizer.safetensors"
STATE_FILE = "state.json"
_PARTIAL = ".partial"


@dataclass(frozen=True)
class Plan:
    """How long the run is, decided once at its beginning."""

    num_steps: int
    tokens_per_step: int
    micro_batch_size: int
    matrix_flops: float
    """Operations per second of a matrix product on the machine that planned it."""


@dataclass(frozen=True)
class TrainingState:
    """A run between two steps; ``model`` and ``optimizer`` are tensors by name."""

    identity: str
    """SHA-256 of the settings and inputs of the run: another run's state is not gone on from."""
    step: int
    """Optimizer updates done."""
    seconds: float
    """Wall-clock of the training so far, over all its parts."""
    position: Position
    plan: Plan
    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]


def save(folder: Path, state: TrainingState, keep_last: int) -> Path:
    """Write ``state`` as a new checkpoint below ``folder``, then remove all but the newest.

    Those of later steps are removed too: the run went on from before them.

    :raises StorageError: it cannot be written; earlier checkpoints stay as they are.
    """
    target = folder / folder_name(state.step)
    partial = folder / (target.name + _PARTIAL)
    with storage_errors(target):
        for left in folder.glob(f"step-*{_PARTIAL}"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            for name, tensors in ((MODEL_FILE, state.model), (OPTIMIZER_FILE, state.optimizer)):
                with replacing(partial / name) as file:
                    safetensors.torch.save_file(dict(tensors), file)
            _write_state(partial, state)
            if target.exists():
                _remove(target)
            partial.rename(target)
            sync_folder(folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    found = checkpoints(folder)
    place = found.index(target) + 1  # what follows is damaged, and was passed over
    for old in [*found[:place][:-keep_last], *found[place:]]:
        _remove(old)
    return target


def _remove(checkpoint: Path) -> None:
    """Under another name first: what is called like a checkpoint is a whole one."""
    doomed = checkpoint.with_name(f"{checkpoint.name}.old{_PARTIAL}")
    with suppress(OSError):
        checkpoint.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def folder_name(step: int) -> str:
    """What the checkpoint after ``step`` updates is called."""
    return f"step-{step:08d}"


def _write_state(folder: Path, state: TrainingState) -> None:
    values = {
        "format": 1,
        "identity": state.identity,
        "step": state.step,
        "seconds": round(state.seconds, 3),
        "position": state.position.to_json(),
        "plan": asdict(state.plan),
    }
    write_json(folder / STATE_FILE, values)
    names = (MODEL_FILE, OPTIMIZER_FILE, STATE_FILE)
    write_json(folder / MANIFEST_NAME, {name: sha256_file(folder / name) for name in names})


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoints below ``folder``, oldest first; half-written ones are not among them."""
    found = [path for path in folder.glob("step-*") if path.suffix != _PARTIAL and path.is_dir()]
    return sorted(found)


def newest_whole(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that is undamaged, and a line for each newer one that is not."""
    complaints: list[str] = []
    for path in reversed(checkpoints(folder)):
        damage = find_damage(path)
        if damage is None:
            return path, complaints
        complaints.append(f"checkpoint {path.name} is damaged ({damage}); passed over")
    return None, complaints


def find_damage(checkpoint: Path) -> str | None:
    """What is wrong with the files of ``checkpoint``; None where nothing is."""
    try:
        manifest = json.loads((checkpoint / MANIFEST_NAME).read_bytes())
        for name in (MODEL_FILE, OPTIMIZER_FILE, STATE_FILE):
            if sha256_file(checkpoint / name) != manifest[name]:
                return f"{name} is not what was written"
    except OSError as error:
        return f"{Path(str(error.filename)).name} cannot be read: {error.strerror}"
    except (ValueError, KeyError, TypeError):
        return f"{MANIFEST_NAME} is not a manifest"
    return None


def load(checkpoint: Path) -> TrainingState:
    """Read a checkpoint that :func:`newest_whole` gave."""
    values: dict[str, Any] = json.loads((checkpoint / STATE_FILE).read_bytes())
    return TrainingState(
        identity=values["identity"],
        step=values["step"],
        seconds=values["seconds"],
        position=Position(**values["position"]),
        plan=Plan(**values["plan"]),
        model=safetensors.torch.load_file(checkpoint / MODEL_FILE),
        optimizer=safetensors.torch.load_file(checkpoint / OPTIMIZER_FILE),
    )
