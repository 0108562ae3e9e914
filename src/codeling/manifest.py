"""A run folder: its ``manifest.json``, its lock, and files that are replaced in one step.

For every finished stage the manifest records the settings, the SHA-256 of inputs and outputs, the
versions of the packages and the commit. :meth:`Manifest.reason_to_run` compares a record with the
current request and states why the stage has to run again, if it has to. This module must not know
what the stages do.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from codeling.errors import BusyError, InputError, StorageError, UsageError, storage_errors

MANIFEST_NAME = "manifest.json"
_LOCK_NAME = ".lock"
_PARTIAL_SUFFIX = ".partial"
_PARTIAL_PATTERNS = ("*" + _PARTIAL_SUFFIX, ".tmp??????")
"""Our temporary files, and those that safetensors renames when they are complete."""
_RECORDED_PACKAGES = (
    "codeling", "daft", "numpy", "pyarrow", "safetensors", "tokenizers", "torch",
    "tree-sitter", "tree-sitter-python",
)  # fmt: skip


@dataclass(frozen=True)
class FileRecord:
    """Size and digest of an output file when its stage finished."""

    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class StageRecord:
    """One finished stage."""

    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    """Name of an input → SHA-256."""
    outputs: Mapping[str, FileRecord]
    """Path relative to the run folder → record of the file."""
    seconds: float
    finished: str
    """UTC, ISO 8601."""
    versions: Mapping[str, str] = field(default_factory=dict)
    git_commit: str | None = None


class Manifest:
    """The finished stages of one run folder, stored in ``manifest.json``."""

    def __init__(
        self,
        folder: Path,
        update_settings: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
    ) -> None:
        """Read the manifest of ``folder``. Without one, no stage is finished.

        ``update_settings`` renames the settings that an earlier version recorded.

        :raises InputError: ``manifest.json`` is damaged or belongs to another program.
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
                f"{path}: not the manifest of a run folder ({error}); choose another folder "
                "with --out"
            ) from error

    def reason_to_run(
        self, stage: str, settings: Mapping[str, Any], inputs: Mapping[str, str]
    ) -> str | None:
        """Return why ``stage`` has to run, or None if its recorded result is still valid."""
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
        """Record the finished ``stage`` and its output files."""
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
        self.write()

    def invalidate(self, stage: str) -> None:
        """Remove the record of ``stage``. Call this before any of its files is changed."""
        if self.stages.pop(stage, None) is not None:
            self.write()

    def digest(self, stage: str) -> str:
        """SHA-256 over all outputs of a finished stage, which is an input of later stages."""
        outputs = self.stages[stage].outputs
        listing = "".join(f"{name} {outputs[name].sha256}\n" for name in sorted(outputs))
        return hashlib.sha256(listing.encode()).hexdigest()

    def write(self) -> None:
        """Replace ``manifest.json``. :raises StorageError: it cannot be written."""
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
    """Yield a temporary path beside ``path``; on exit, fsync it and rename it to ``path``.

    A reader of ``path`` sees either the old or the new file, complete. If the block raises, the
    temporary file is removed and ``path`` is unchanged.

    :raises StorageError: the file cannot be written.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + _PARTIAL_SUFFIX)
        try:
            partial.unlink(missing_ok=True)
            partial.touch()
            mode = partial.stat().st_mode  # by the user's umask; safetensors creates with 0600
            yield partial
            partial.chmod(mode)
            sync_file(partial)
            partial.replace(path)
            sync_folder(path.parent)
        finally:
            partial.unlink(missing_ok=True)


def remove_partials(folder: Path) -> None:
    """Remove all temporary files that killed processes left below ``folder``.

    Only the process that holds :func:`locked` on ``folder`` may call this.

    :raises StorageError: a file cannot be removed.
    """
    with storage_errors(folder):
        found = [path for pattern in _PARTIAL_PATTERNS for path in folder.rglob(pattern)]
        for partial in found:
            if partial.is_dir():
                shutil.rmtree(partial, ignore_errors=True)
            else:
                partial.unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    """Flush the contents of ``path`` to the disk."""
    with path.open("r+b") as file:  # Windows flushes only files that are open for writing
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Flush the file names in ``folder`` to the disk, so that a rename survives a power loss.

    Windows cannot open a folder, and needs no such call.
    """
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace ``path`` in one step. :raises StorageError: as :func:`replacing`."""
    with replacing(path) as partial:
        partial.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Replace ``path`` by ``value`` as indented JSON with sorted keys, in one step."""
    write_bytes(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """The bytes that :func:`write_json` writes."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    return (text + "\n").encode()


def prepare_work_folder(folder: Path, key: Any, fill: Callable[[], None] = lambda: None) -> None:
    """Keep ``folder`` if its ``key.json`` equals ``key``; otherwise empty it and call ``fill``.

    The key is written last, so the work of a call that was killed before is not reused.
    """
    path = folder / "key.json"
    try:
        unchanged = json.loads(path.read_bytes()) == key
    except (OSError, ValueError):
        unchanged = False
    if not unchanged:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        fill()
        write_json(path, key)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold an exclusive lock on ``folder``; the system releases it when the process ends.

    :raises BusyError: another process holds the lock.
    :raises StorageError: the folder cannot be created or written.
    """
    from filelock import FileLock, Timeout  # imports asyncio, which --help need not wait for

    lock = FileLock(folder / _LOCK_NAME, blocking=False)
    with storage_errors(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError as error:  # /proc, for example
            raise StorageError(
                f"{folder}: no folder can be created there; choose another folder with --out"
            ) from error
        try:
            lock.acquire()
        except Timeout as error:
            raise BusyError(
                f"{folder}: another codeling process uses this folder; wait for it to finish, or "
                "choose another folder with --out"
            ) from error
    try:
        yield
    finally:
        lock.release()


def check_run_folder(folder: Path) -> None:
    """Refuse a folder whose files do not come from a run. Nothing in it is changed.

    A run folder gets its manifest first, so a folder without one has to be empty.

    :raises UsageError: ``folder`` holds other files.
    :raises StorageError: it cannot be read, or is a file.
    """
    with storage_errors(folder):
        names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    ours = MANIFEST_NAME in names or {"recipe.toml", _LOCK_NAME} <= names
    if not ours and names - {_LOCK_NAME}:
        raise UsageError(
            f"{folder}: not a run folder, and not empty; choose a new folder with --out"
        )


def _versions() -> dict[str, str]:
    found = {}
    for name in _RECORDED_PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _git_commit() -> str | None:
    """The commit of the checkout that contains this package, or None without a checkout.

    Git has to track this file: an environment inside another project's checkout does not count.
    The suffix ``-dirty`` means that tracked files have changed since the commit.
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
