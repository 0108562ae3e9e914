"""Started by root: becomes another user, then bubblewrap.

In a user namespace, root's files stay readable to a process of user 0, and the kernel exempts it
from the limit on processes. Bubblewrap is therefore started as another user. That user may not be
able to reach the interpreter, for instance under ``/root``. So the sandbox's sources are bound to
a folder that it can reach, in a mount namespace of this process.

This module is run as a program, with its task as JSON in its one argument. It must not know what
the sandbox is for.
"""

import json
import os
import stat
import sys
from pathlib import Path

PLACE = Path("/mnt")
"""Hidden behind an empty folder, for this process and its children only."""


def main(argument: str) -> None:
    """Bind the sources to ``PLACE``/0, /1, … and become the command, as another user."""
    from codeling.evaluation.sandbox.inside import syscalls  # for Linux only

    task = json.loads(argument)
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
