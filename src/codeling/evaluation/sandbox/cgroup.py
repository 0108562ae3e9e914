"""A cgroup for each sandbox where this machine lets its user make one: memory and tasks in sum.

Without one each process has its own bounds alone, which is enough: a program has one process.
Version 2 only, by its files (``Documentation/admin-guide/cgroup-v2.rst`` of Linux). A folder can
be made where root runs it, or where systemd has handed the user's part of the tree over to them.

It must not know what runs in it.
"""

import contextlib
import time
from pathlib import Path

from codeling.evaluation.sandbox.jobs import Limits

ROOT = Path("/sys/fs/cgroup")
_BASE_BYTES = 256 << 20  # pages of the interpreter that a fork has changed
_BASE_TASKS = 16
_REMOVE_SECONDS = 1.0


def make(limits: Limits, name: str, root: Path = ROOT, own: str | None = None) -> Path | None:
    """A new cgroup with the limits of one sandbox, or None where none may be made.

    It is made beside the cgroup of this process: one that holds processes can have no children
    with limits.
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
    """Write the limits; whether the controllers for them are there."""
    if not all((folder / file).exists() for file in ("memory.max", "pids.max", "cgroup.procs")):
        return False
    # The check's process and the program's, and what lies in /tmp.
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
    """Move a process, whose children will be there too; whether that is allowed."""
    try:
        (folder / "cgroup.procs").write_text(str(pid))
    except OSError:
        return False
    return True


def remove(folder: Path) -> None:
    """Remove an empty cgroup; the kernel takes a moment to see that it is."""
    deadline = time.monotonic() + _REMOVE_SECONDS
    while folder.exists() and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            folder.rmdir()
            return
        time.sleep(0.01)
