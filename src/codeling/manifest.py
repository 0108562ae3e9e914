"""What made what: a run folder's ``manifest.json``, and the writing of files all at once or not.

For every stage that has finished, the manifest keeps its settings, the SHA-256 of its inputs
and outputs, the versions and the seed. :meth:`Manifest.reason_to_run` compares that with what
is asked now and says in words why a stage has to be done again, or that it need not. This
module must not know what the stages do.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from codeling.errors import BusyError, InputError, storage_errors

MANIFEST_NAME = "manifest.json"
_LOCK_NAME = ".lock"
_PARTIAL_SUFFIX = ".partial"
_HALF_WRITTEN = ("*" + _PARTIAL_SUFFIX, ".tmp??????")
"""Ours, and what safetensors writes to before it renames."""
_RECORDED_PACKAGES = (
    "codeling", "daft", "numpy", "pyarrow", "safetensors", "tokenizers", "torch",
    "tree-sitter", "tree-sitter-python",
)  # fmt: skip


@dataclass(frozen=True)
class FileRecord:
    """One file as it was when its stage ended."""

    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class StageRecord:
    """One finished stage."""

    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    """Name of an input → SHA-256 of what it was."""
    outputs: Mapping[str, FileRecord]
    """Path relative to the run folder → what was written."""
    seconds: float
    finished: str
    """UTC, ISO 8601."""
    versions: Mapping[str, str] = field(default_factory=dict)
    git_commit: str | None = None


class Manifest:
    """The finished stages of one run folder, kept in ``manifest.json`` (JSON, atomic)."""

    def __init__(
        self,
        folder: Path,
        update_settings: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
    ) -> None:
        """Read what ``folder`` holds; a folder without a manifest has no finished stage.

        ``update_settings`` brings the settings that an earlier version recorded to current names.

        :raises InputError: the manifest is there and is not one.
        """
        self.folder = folder
        self.stages: dict[str, StageRecord] = {}
        path = folder / MANIFEST_NAME
        if not path.exists():
            return
        try:
            for name, values in json.loads(path.read_bytes())["stages"].items():
                outputs = {k: FileRecord(**v) for k, v in values.pop("outputs").items()}
                settings = update_settings(values.pop("settings"))
                self.stages[name] = StageRecord(settings=settings, outputs=outputs, **values)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path}: not a manifest ({error}); remove it to do every stage again"
            ) from error

    def reason_to_run(
        self, stage: str, settings: Mapping[str, Any], inputs: Mapping[str, str]
    ) -> str | None:
        """Why ``stage`` has to be done (again), in words; None where its result still stands."""
        record = self.stages.get(stage)
        if record is None:
            return "not done yet"
        for key in sorted({*record.settings, *settings}):
            old, new = record.settings.get(key), settings.get(key)
            if old != new:
                return f"{key} changed from {json.dumps(old)} to {json.dumps(new)}"
        for name in sorted({*record.inputs, *inputs}):
            if record.inputs.get(name) != inputs.get(name):
                return f"{name} changed"
        for name, output in record.outputs.items():
            path = self.folder / name
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != output.num_bytes or sha256_file(path) != output.sha256:
                return f"{name} is damaged"
        return None

    def record(
        self,
        stage: str,
        settings: Mapping[str, Any],
        inputs: Mapping[str, str],
        outputs: Sequence[Path],
        seconds: float,
    ) -> None:
        """Note that ``stage`` has ended and what it left; the file is replaced in one step."""
        files = {
            path.relative_to(self.folder).as_posix(): FileRecord(
                path.stat().st_size, sha256_file(path)
            )
            for path in sorted(outputs)
        }
        self.stages[stage] = StageRecord(
            settings=settings,
            inputs=dict(inputs),
            outputs=files,
            seconds=round(seconds, 3),
            finished=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            versions=_versions(),
            git_commit=_git_commit(),
        )
        self._write()

    def forget(self, stage: str) -> None:
        """Note that ``stage`` is about to be done again, before any of its files is touched."""
        if self.stages.pop(stage, None) is not None:
            self._write()

    def digest(self, stage: str) -> str:
        """SHA-256 over all outputs of a finished stage, to be an input of the next."""
        outputs = self.stages[stage].outputs
        listing = "".join(f"{name} {outputs[name].sha256}\n" for name in sorted(outputs))
        return hashlib.sha256(listing.encode()).hexdigest()

    def _write(self) -> None:
        stages = {name: asdict(record) for name, record in self.stages.items()}
        write_json(self.folder / MANIFEST_NAME, {"format": 1, "stages": stages})


def sha256_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside ``path`` to write to; on leaving it is fsynced and renamed to ``path``.

    Whoever reads ``path`` sees the old file or the new one, whole. When the block raises,
    what was written is removed and ``path`` stays as it was.

    :raises StorageError: nothing can be written there.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + _PARTIAL_SUFFIX)
        try:
            partial.unlink(missing_ok=True)
            partial.touch()
            mode = partial.stat().st_mode  # as the user's umask has it; safetensors' is 0600
            yield partial
            partial.chmod(mode)
            sync_file(partial)
            partial.replace(path)
            sync_folder(path.parent)
        finally:
            partial.unlink(missing_ok=True)


def remove_partials(folder: Path) -> None:
    """Remove what a killed process had half written anywhere below ``folder``.

    Only for the one who holds ``folder``, see :func:`locked`.

    :raises StorageError: something cannot be removed.
    """
    with storage_errors(folder):
        found = [path for pattern in _HALF_WRITTEN for path in folder.rglob(pattern)]
        for partial in found:
            if partial.is_dir():
                shutil.rmtree(partial, ignore_errors=True)
            else:
                partial.unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    """Make the bytes of ``path`` durable."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable (a rename is not, until its folder is synced)."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data`` in one step. :raises StorageError: as :func:`replacing`."""
    with replacing(path) as partial:
        partial.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Replace ``path`` by ``value`` as indented JSON with sorted keys, in one step."""
    write_bytes(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """What :func:`write_json` writes."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    return (text + "\n").encode()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for this process alone; the kernel lets go when the process ends.

    :raises BusyError: another process holds it.
    :raises StorageError: the folder cannot be made or written.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / _LOCK_NAME).open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(
                f"{folder}: another codeling works in this run folder; wait for it, or take "
                "another with --out"
            ) from error
        yield


def _versions() -> dict[str, str]:
    found = {}
    for name in _RECORDED_PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _git_commit() -> str | None:
    """The commit of the checkout that this package runs from, or None outside of one.

    Installed into an environment inside of somebody else's checkout, it is not of that one: git
    has to know this file. ``-dirty`` at the end says that tracked files were changed since.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    commit = ""
    for command in (
        ["ls-files", "--error-unmatch", Path(__file__).name],
        ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
    ):
        try:
            answer = subprocess.run(
                ["git", "-C", str(Path(__file__).parent), *command],
                capture_output=True,
                text=True,
                timeout=5,
                check=True,
                env=environment,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        commit = answer.stdout.strip()
    return commit
