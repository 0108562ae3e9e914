"""Started by root: gives up being root, and goes on as bubblewrap.

Root's own files stay readable to a process of user 0 even in a user namespace, and the kernel
excuses it from the limit on processes. So bubblewrap is started as another user. That user may
not reach the interpreter (under ``/root``, for one): what the sandbox is built from is bound
before to a place that it can reach, in a mount namespace of this process alone.

It is run as a program, with its work as JSON in its one argument. It must not know what the
sandbox is for.
"""

import json
import os
import stat
import sys
from pathlib import Path

PLACE = Path("/mnt")
"""Covered by an empty folder, for this process and its children alone."""


def main(work: str) -> None:
    """Bind the sources to ``PLACE``/0, /1, … and become the command, as another user."""
    from codeling.evaluation.sandbox.inside import syscalls  # for Linux only

    task = json.loads(work)
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.keep_mounts_private()
    opened = [os.open(source, os.O_PATH) for source in task["sources"]]
    syscalls.mount_tmpfs(str(PLACE), 1 << 20, 1_000)
    PLACE.chmod(0o755)
    for number, fd in enumerate(opened):
        target = PLACE / str(number)
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            target.mkdir()
        else:
            target.touch()
        syscalls.bind(f"/proc/self/fd/{fd}", str(target))
        os.close(fd)
    os.setgroups([])
    os.setresgid(*[task["user"]] * 3)
    os.setresuid(*[task["user"]] * 3)
    os.execve(task["command"][0], task["command"], {})  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1])
