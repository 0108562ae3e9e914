"""Checkpoints: everything a run needs to continue as if it had not been stopped.

A checkpoint is a folder ``step-00000500`` with ``model.safetensors``, ``optimizer.safetensors``,
``state.json`` and, written last, ``manifest.json`` with the SHA-256 of the other three. The
checkpoint of a sharded model has ``sharded/*.safetensors`` instead of the first two
(:mod:`codeling.training.checkpoint.sharded_tensors`). It is written under another name, synced and
renamed, so a folder of that name is complete; the manifest detects later damage. The state holds
no random generator: every random choice is a function of the seed and a position, and the
positions are in the state.
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
from codeling.training.planning.pace import Pace
from codeling.training.schedule import Schedule

MODEL_FILE = "model.safetensors"
OPTIMIZER_FILE = "optimizer.safetensors"
STATE_FILE = "state.json"
_PARTIAL = ".partial"
_FORMAT = 2


@dataclass(frozen=True)
class Plan:
    """The length of a run and the size of its steps.

    A run with a given number of steps or tokens keeps its first plan. A run by the clock is
    replanned and its end moves.
    """

    schedule: Schedule
    tokens_per_step: int
    micro_batch_size: int
    """Sequences of one forward and backward pass."""
    matrix_flops: float
    """Floating-point operations per second of a matrix product on the machine that trains now."""

    @property
    def num_steps(self) -> int:
        """Number of steps of the whole run, as planned now."""
        return self.schedule.num_steps

    @property
    def num_tokens(self) -> int:
        """Tokens of the whole run, as planned now."""
        return self.num_steps * self.tokens_per_step

    @property
    def first_num_tokens(self) -> int:
        """Tokens of the whole run by its first plan; these fix the data and the validation."""
        return self.schedule.length * self.tokens_per_step

    def to_json(self) -> dict[str, Any]:
        """Plain numbers by name."""
        schedule = self.schedule
        return {
            "num_steps": schedule.num_steps,
            "first_num_steps": schedule.length,
            "anchor_step": schedule.anchor_step,
            "anchor_position": schedule.anchor_position,
            "tokens_per_step": self.tokens_per_step,
            "micro_batch_size": self.micro_batch_size,
            "matrix_flops": self.matrix_flops,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Plan":
        """Inverse of :meth:`to_json`; versions before 0.2 wrote no anchor and no first plan."""
        schedule = Schedule(
            values.get("first_num_steps", values["num_steps"]),
            values["num_steps"],
            values.get("anchor_step", 0),
            values.get("anchor_position", 0.0),
        )
        rest = (values[key] for key in ("tokens_per_step", "micro_batch_size", "matrix_flops"))
        return cls(schedule, *rest)


@dataclass(frozen=True)
class TrainingState:
    """A run between two steps; ``model`` and ``optimizer`` map names to tensors."""

    identity: str
    """SHA-256 of the settings and inputs of the run; only the same run continues from it."""
    step: int
    """Optimizer updates done."""
    seconds: float
    """Wall-clock time of the training so far, including earlier processes of the run."""
    position: Position
    """Position of the next sequence in the training data."""
    plan: Plan
    model: Mapping[str, Tensor] = field(default_factory=dict)
    optimizer: Mapping[str, Tensor] = field(default_factory=dict)
    num_skipped: int = 0
    """Number of consecutive skipped steps, up to the last step."""
    pace: Pace = field(default_factory=Pace)


def save(
    folder: Path,
    state: TrainingState,
    keep_last: int,
    keep_every: int | None = None,
    write_tensors: Callable[[Path], None] | None = None,
) -> Path:
    """Write ``state`` as a new checkpoint in ``folder``, keep the ``keep_last`` newest.

    Checkpoints at multiples of ``keep_every`` steps stay. Checkpoints of later steps are removed,
    because the run continued from an earlier one. ``write_tensors``, if given, writes the tensors
    into the folder that it receives.

    :raises StorageError: the checkpoint cannot be written; earlier ones stay as they are.
    """
    target = folder / folder_name(state.step)
    partial = partial_folder(folder, state.step)
    with storage_errors(target):
        for left in folder.glob(f"step-*{_PARTIAL}"):  # left by a killed process
            shutil.rmtree(left, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            (write_tensors or _unsharded_writer(state))(partial)
            _write_state(partial, state)
            if target.exists():
                _remove(target)
            partial.rename(target)
            sync_folder(folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    found = checkpoints(folder)
    place = found.index(target) + 1  # later ones are damaged or obsolete
    for old in [*found[:place][:-keep_last], *found[place:]]:
        if old in found[place:] or not (keep_every and _step(old) % keep_every == 0):
            _remove(old)
    return target


def _unsharded_writer(state: TrainingState) -> Callable[[Path], None]:
    """Return a function that writes the tensors of ``state`` as two files."""

    def write(folder: Path) -> None:
        for name, tensors in ((MODEL_FILE, state.model), (OPTIMIZER_FILE, state.optimizer)):
            with replacing(folder / name) as file:
                safetensors.torch.save_file(dict(tensors), file)

    return write


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step-"))


def _remove(checkpoint: Path) -> None:
    """Remove a checkpoint; it is renamed first, so a folder with its name is always complete."""
    doomed = checkpoint.with_name(f"{checkpoint.name}.old{_PARTIAL}")
    with suppress(OSError):
        checkpoint.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def folder_name(step: int) -> str:
    """Name of the checkpoint after ``step`` updates."""
    return f"step-{step:08d}"


def partial_folder(folder: Path, step: int) -> Path:
    """Folder that the checkpoint after ``step`` updates is written to before its rename."""
    return folder / (folder_name(step) + _PARTIAL)


def _write_state(folder: Path, state: TrainingState) -> None:
    values = {
        "format": _FORMAT,
        "identity": state.identity,
        "step": state.step,
        "seconds": state.seconds,
        "position": state.position.to_json(),
        "plan": state.plan.to_json(),
        "seen": {"bad_steps": state.num_skipped},
        "pace": asdict(state.pace),
    }
    write_json(folder / STATE_FILE, values)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    digests = {path.relative_to(folder).as_posix(): sha256_file(path) for path in paths}
    write_json(folder / MANIFEST_NAME, digests)


def checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints in ``folder``, oldest first."""
    found = [path for path in folder.glob("step-*") if path.name[5:].isdigit() and path.is_dir()]
    return sorted(found)


def newest_intact(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest undamaged checkpoint, and one message per newer, damaged one."""
    complaints: list[str] = []
    for path in reversed(checkpoints(folder)):
        damage = find_damage(path)
        if damage is None:
            return path, complaints
        complaints.append(f"checkpoint {path.name} is damaged ({damage}); skipped")
    return None, complaints


def find_damage(checkpoint: Path) -> str | None:
    """Describe the damage of ``checkpoint``; None if there is none."""
    try:
        text = (checkpoint / MANIFEST_NAME).read_bytes()
        manifest = json.loads(text)
        if text != json_bytes(manifest) or not _is_complete(manifest):
            return f"{MANIFEST_NAME} differs from what was written"
        for name, digest in manifest.items():
            if sha256_file(checkpoint / name) != digest:
                return f"{name} differs from what was written"
        written_as = json.loads((checkpoint / STATE_FILE).read_bytes())["format"]
        if written_as != _FORMAT:
            return f"its format is {written_as}; this version reads {_FORMAT}"
    except OSError as error:
        return f"{Path(str(error.filename)).name} cannot be read: {error.strerror}"
    except (ValueError, AttributeError, KeyError, TypeError):
        return f"{MANIFEST_NAME} is not a manifest"
    return None


def _is_complete(manifest: Mapping[str, str]) -> bool:
    """Whether ``manifest`` lists all files of a checkpoint, sharded or not."""
    if manifest.keys() == {MODEL_FILE, OPTIMIZER_FILE, STATE_FILE}:
        return True
    shards = [name for name in manifest if name.startswith(f"{sharded_tensors.FOLDER}/")]
    return bool(shards) and manifest.keys() == {*shards, STATE_FILE}


def load(checkpoint: Path) -> TrainingState:
    """Read a checkpoint with all its tensors, unsharded."""
    values = load_without_tensors(checkpoint)
    if is_sharded(checkpoint):
        tensors = sharded_tensors.read_unsharded(checkpoint)
        model = {k[len("model/") :]: v for k, v in tensors.items() if k.startswith("model/")}
        rest = {k: v for k, v in tensors.items() if not k.startswith("model/")}
        return replace(values, model=model, optimizer=rest)
    return replace(
        values,
        model=safetensors.torch.load_file(checkpoint / MODEL_FILE),
        optimizer=safetensors.torch.load_file(checkpoint / OPTIMIZER_FILE),
    )


def is_sharded(checkpoint: Path) -> bool:
    """Whether the tensors are sharded, one file per process."""
    return (checkpoint / sharded_tensors.FOLDER).is_dir()


def load_without_tensors(checkpoint: Path) -> TrainingState:
    """Read ``state.json`` alone."""
    values: dict[str, Any] = json.loads((checkpoint / STATE_FILE).read_bytes())
    return TrainingState(
        identity=values["identity"],
        step=values["step"],
        seconds=values["seconds"],
        position=Position.from_json(values["position"]),
        plan=Plan.from_json(values["plan"]),
        num_skipped=values["seen"]["bad_steps"],
        pace=Pace(**values.get("pace", {})),
    )
