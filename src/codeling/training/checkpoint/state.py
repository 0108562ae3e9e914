"""Checkpoints: everything a run needs to go on as if it had not stopped.

A checkpoint is a folder ``step-00000500`` with ``model.safetensors``, ``optimizer.safetensors``,
``state.json`` and, written last, ``manifest.json`` with the SHA-256 of the other three. One of a
model that several processes share has ``sharded/*.safetensors`` in the place of the first two
(:mod:`codeling.training.checkpoint.sharded_tensors`). It is written under another name, synced and
renamed, so a
folder of that name is whole; the manifest tells damage that came later. There are no random
generators in the state: every random choice of a run is a function of the seed and a position,
and the positions are in it.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from codeling.dataset.loader import Position
from codeling.errors import storage_errors
from codeling.manifest import (
    MANIFEST_NAME,
    json_bytes,
    replacing,
    sha256_file,
    sync_folder,
    write_json,
)
from codeling.training.checkpoint import sharded_tensors

MODEL_FILE = "model.safetensors"
OPTIMIZER_FILE = "optimizer.safetensors"
STATE_FILE = "state.json"
_PARTIAL = ".partial"
_FORMAT = 2


@dataclass(frozen=True)
class Plan:
    """How long the run is, decided once at its beginning."""

    num_steps: int
    tokens_per_step: int
    micro_batch_size: int
    matrix_flops: float
    """Operations per second of a matrix product, measured where the training began or goes on."""

    @property
    def num_tokens(self) -> int:
        """Of the whole run."""
        return self.num_steps * self.tokens_per_step


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
    model: Mapping[str, Tensor] = field(default_factory=dict)
    optimizer: Mapping[str, Tensor] = field(default_factory=dict)
    num_skipped: int = 0
    """Consecutive skipped steps up to now."""


def save(
    folder: Path,
    state: TrainingState,
    keep_last: int,
    keep_every: int | None = None,
    write_tensors: Callable[[Path], None] | None = None,
) -> Path:
    """Write ``state`` as a new checkpoint below ``folder``, then remove all but the newest.

    Those after a multiple of ``keep_every`` steps stay. Those of later steps are removed: the
    run went on from before them. ``write_tensors`` writes the tensors in the place of this
    function, into the folder that it is given.

    :raises StorageError: it cannot be written; earlier checkpoints stay as they are.
    """
    target = folder / folder_name(state.step)
    partial = partial_folder(folder, state.step)
    with storage_errors(target):
        for left in folder.glob(f"step-*{_PARTIAL}"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            (write_tensors or _whole_tensors(state))(partial)
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
        if old in found[place:] or not (keep_every and _step(old) % keep_every == 0):
            _remove(old)
    return target


def _whole_tensors(state: TrainingState) -> Callable[[Path], None]:
    """Writes both kinds of tensors of ``state``, each as one file."""

    def write(folder: Path) -> None:
        for name, tensors in ((MODEL_FILE, state.model), (OPTIMIZER_FILE, state.optimizer)):
            with replacing(folder / name) as file:
                safetensors.torch.save_file(dict(tensors), file)

    return write


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step-"))


def _remove(checkpoint: Path) -> None:
    """Under another name first: what is called like a checkpoint is a whole one."""
    doomed = checkpoint.with_name(f"{checkpoint.name}.old{_PARTIAL}")
    with suppress(OSError):
        checkpoint.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def folder_name(step: int) -> str:
    """What the checkpoint after ``step`` updates is called."""
    return f"step-{step:08d}"


def partial_folder(folder: Path, step: int) -> Path:
    """Where the checkpoint after ``step`` updates is written before it is renamed."""
    return folder / (folder_name(step) + _PARTIAL)


def _write_state(folder: Path, state: TrainingState) -> None:
    values = {
        "format": _FORMAT,
        "identity": state.identity,
        "step": state.step,
        "seconds": round(state.seconds, 3),
        "position": state.position.to_json(),
        "plan": asdict(state.plan),
        "seen": {"bad_steps": state.num_skipped},
    }
    write_json(folder / STATE_FILE, values)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    digests = {path.relative_to(folder).as_posix(): sha256_file(path) for path in paths}
    write_json(folder / MANIFEST_NAME, digests)


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoints below ``folder``, oldest first; half-written ones are not among them."""
    found = [path for path in folder.glob("step-*") if path.name[5:].isdigit() and path.is_dir()]
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
        text = (checkpoint / MANIFEST_NAME).read_bytes()
        manifest = json.loads(text)
        if text != json_bytes(manifest) or not _is_complete(manifest):
            return f"{MANIFEST_NAME} is not what was written"
        for name, digest in manifest.items():
            if sha256_file(checkpoint / name) != digest:
                return f"{name} is not what was written"
        written_as = json.loads((checkpoint / STATE_FILE).read_bytes())["format"]
        if written_as != _FORMAT:
            return f"its format is {written_as}, and this version goes on from {_FORMAT}"
    except OSError as error:
        return f"{Path(str(error.filename)).name} cannot be read: {error.strerror}"
    except (ValueError, AttributeError, KeyError, TypeError):
        return f"{MANIFEST_NAME} is not a manifest"
    return None


def _is_complete(manifest: Mapping[str, str]) -> bool:
    whole = {MODEL_FILE, OPTIMIZER_FILE, STATE_FILE}
    if manifest.keys() == whole:
        return True
    shared = [name for name in manifest if name.startswith(f"{sharded_tensors.FOLDER}/")]
    return bool(shared) and manifest.keys() == {*shared, STATE_FILE}


def load(checkpoint: Path) -> TrainingState:
    """Read a checkpoint that :func:`newest_whole` gave, all of every tensor."""
    values = load_without_tensors(checkpoint)
    if is_sharded(checkpoint):
        tensors = sharded_tensors.read_whole(checkpoint)
        model = {k[len("model/") :]: v for k, v in tensors.items() if k.startswith("model/")}
        rest = {k: v for k, v in tensors.items() if not k.startswith("model/")}
        return replace(values, model=model, optimizer=rest)
    return replace(
        values,
        model=safetensors.torch.load_file(checkpoint / MODEL_FILE),
        optimizer=safetensors.torch.load_file(checkpoint / OPTIMIZER_FILE),
    )


def is_sharded(checkpoint: Path) -> bool:
    """Whether the tensors are in pieces, one file a process."""
    return (checkpoint / sharded_tensors.FOLDER).is_dir()


def load_without_tensors(checkpoint: Path) -> TrainingState:
    """What a checkpoint says besides its tensors."""
    values: dict[str, Any] = json.loads((checkpoint / STATE_FILE).read_bytes())
    return TrainingState(
        identity=values["identity"],
        step=values["step"],
        seconds=values["seconds"],
        position=Position.from_json(values["position"]),
        plan=Plan(**values["plan"]),
        num_skipped=values["seen"]["bad_steps"],
    )
