"""A cgroup for each sandbox, where the user may create one: limits for all its processes together.

Without one each process has its own limits, which is enough, since a program has one process.
Version 2 only, by its files (``Documentation/admin-guide/cgroup-v2.rst`` of Linux). Root can
create one, and a user to whom systemd has delegated a part of the tree.

This module must not know what runs in a cgroup.
"""

import contextlib
import time
from pathlib import Path

from codeling.evaluation.sandbox.jobs import Limits

ROOT = Path("/sys/fs/cgroup")
_BASE_BYTES = 256 << 20  # pages of the interpreter that the forked processes change
_BASE_TASKS = 16
_REMOVE_SECONDS = 1.0


def make(limits: Limits, name: str, root: Path = ROOT, own: str | None = None) -> Path | None:
    """A new cgroup with the limits of one sandbox; None where the user may not create one.

    It is a sibling of this process's cgroup, because a cgroup that holds processes cannot have
    children with limits.
    """
    if not (root / "cgroup.controllers").exists():
        return None
    place = root / (_own() if own is None else own).strip("/")
    for parent in dict.fromkeys((place.parent, place)):
        if not parent.is_relative_to(root):
            continue
        folder = parent / name
        try:
            folder.mkdir()
        except OSError:
            continue
        if _limit(folder, limits):
            return folder
        remove(folder)
    return None


def _own() -> str:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        if line.startswith("0::"):
            return line[3:]
    return "/"


def _limit(folder: Path, limits: Limits) -> bool:
    """Write the limits. Returns False if a controller is missing."""
    if not all((folder / file).exists() for file in ("memory.max", "pids.max", "cgroup.procs")):
        return False
    # The check's process, the program's, and the files in /tmp.
    memory = 2 * limits.memory_bytes + limits.tmp_bytes + _BASE_BYTES
    try:
        (folder / "memory.max").write_text(str(memory))
        (folder / "pids.max").write_text(str(limits.processes + _BASE_TASKS))
        if (folder / "memory.swap.max").exists():
            (folder / "memory.swap.max").write_text("0")
    except OSError:
        return False
    return True


def put(folder: Path, pid: int) -> bool:
    """Move a process into the cgroup. Returns False if that is not allowed."""
    try:
        (folder / "cgroup.procs").write_text(str(pid))
    except OSError:
        return False
    return True


def remove(folder: Path) -> None:
    """Remove a cgroup; the kernel takes a moment to notice that it is empty."""
    deadline = time.monotonic() + _REMOVE_SECONDS
    while folder.exists() and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            folder.rmdir()
            return
        time.sleep(0.01)
