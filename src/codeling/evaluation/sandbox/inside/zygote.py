"""The first process in the sandbox: loads Python once, and forks it for every job.

For each job two processes, each the first of a namespace of its own: the check's, and inside of
it the program's, which therefore sees neither the check's nor this one. When the check's process
ends, the kernel ends whatever the program has left. Only this process may make namespaces; both
others have given up every privilege before they read a line of the job.

It is started by :mod:`codeling.evaluation.sandbox.worker` and speaks with it over one socket: 4
bytes of length, then JSON. It must not read a job itself: the program's process is forked from
what it knows.
"""

import gc
import importlib
import json
import os
import random
import resource
import select
import signal
import socket
import struct
import sys
import time
from typing import Any

from codeling.evaluation.sandbox.inside import checker, program, remote, syscalls
from codeling.evaluation.sandbox.inside.rpc import read_exactly, write_all

_LENGTH = struct.Struct("<I")
GRACE_SECONDS = 0.5
"""After the wall clock has run out the check's process says so itself, unless it hangs too."""

# What programs import most: read once here instead of once a job.
_COMMON = """
    abc array bisect calendar cmath collections copy dataclasses datetime decimal enum
    fractions functools hashlib heapq inspect io itertools json math numbers operator os queue
    random re statistics string struct sys textwrap threading time traceback typing
    unicodedata
"""


def read_message(fd: int) -> Any:
    """Read one JSON message."""
    return json.loads(read_exactly(fd, *_LENGTH.unpack(read_exactly(fd, 4))))


def write_message(fd: int, message: Any) -> None:
    """Write one JSON message."""
    data = json.dumps(message).encode()
    write_all(fd, _LENGTH.pack(len(data)) + data)


def main(control: int) -> None:
    """Serve jobs until the host closes its end of ``control``."""
    settings = read_message(control)
    for name in (*_COMMON.split(), *settings["packages"]):
        importlib.import_module(name)
    if settings["packages"]:
        arrays = importlib.import_module("codeling.evaluation.sandbox.inside.codec.arrays")
        remote.FOREIGN_ATTRIBUTES.update(arrays.register(settings["packages"]))
    os.environ.clear()
    os.dup2(1, 2)  # until here the host has read what went wrong
    syscalls.hide_from_tracing()
    myself = os.pidfd_open(os.getpid())
    gc.disable()
    gc.collect()
    gc.freeze()
    write_message(control, {"ready": True})
    settings |= read_message(control)
    report = {"ended": 0}
    while report["ended"] == 0 and os.read(control, 1):
        syscalls.enter_own_pid_namespace(myself)
        syscalls.unshare(syscalls.CLONE_NEWPID)
        child = os.fork()
        if child == 0:
            _run(_check_job, control, settings)
        report = _watch(child, control, settings["wall_seconds"] + GRACE_SECONDS)
        write_message(control, report)


def _run(work: Any, *arguments: Any) -> None:
    """Do the work of a child, which must not come back into the loop of its parent."""
    try:
        work(*arguments)
    finally:
        os._exit(70)


def _watch(child: int, control: int, seconds: float) -> dict[str, Any]:
    """Wait for the check's process, kill it when its time is over, and say how it ended."""
    poll = select.poll()
    ended = os.pidfd_open(child)
    poll.register(ended, select.POLLIN)
    poll.register(control, 0)  # only that the host has gone
    events = poll.poll(1_000 * seconds)
    killed = not any(fd == ended for fd, _ in events)
    if killed:
        os.kill(child, signal.SIGKILL)
    status, usage = os.wait4(child, 0)[1:]
    os.close(ended)
    if any(fd == control for fd, _ in events):
        os._exit(0)
    code = os.waitstatus_to_exitcode(status)
    return {"ended": code, "killed": killed, "grown_bytes": _grown(usage)}


def _grown(usage: resource.struct_rusage) -> int:
    """How much more memory a child had than this program had when it was loaded."""
    return 1024 * (usage.ru_maxrss - resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _check_job(control: int, settings: dict[str, Any]) -> None:
    """The check's process: fork the program's, then read the job, judge it, tell the host."""
    try:
        syscalls.unshare(syscalls.CLONE_NEWPID | syscalls.CLONE_NEWNS)
        syscalls.mount_tmpfs("/tmp", settings["tmp_bytes"], settings["tmp_files"])  # noqa: S108
    except OSError as error:
        write_message(control, {"error": str(error)})
        raise
    ours, theirs = (end.detach() for end in socket.socketpair())
    child = os.fork()
    if child == 0:
        _run(_program_job, theirs, settings)
    os.close(theirs)
    _lock_down(settings)
    job = read_message(control)

    def tell(outcome: str, detail: str) -> None:
        # The program may have had a say in the words, and they will stand on a terminal.
        shown = "".join(letter if letter.isprintable() else " " for letter in detail[:1_000])
        message = {"nonce": job["nonce"], "outcome": outcome, "detail": shown}
        write_message(control, message)
        os._exit(0)

    def time_over(number: int, frame: Any) -> None:
        tell("timeout", f"not done after {settings['wall_seconds']:g} seconds")

    signal.signal(signal.SIGALRM, time_over)
    signal.setitimer(signal.ITIMER_REAL, settings["wall_seconds"])
    limit = settings["output_bytes"]
    outcome, detail = checker.run_check(
        ours, limit, job["program"], job["check"], job["entry_point"]
    )
    signal.setitimer(signal.ITIMER_REAL, 0)
    if outcome == "crashed":
        outcome, detail = _how_it_ended(child, settings)
    tell(outcome, detail)


def _how_it_ended(child: int, settings: dict[str, Any]) -> tuple[str, str]:
    """Why the program's process is no more."""
    deadline = time.monotonic() + GRACE_SECONDS
    while True:
        found, status, usage = os.wait4(child, os.WNOHANG)
        if found:
            break
        if time.monotonic() > deadline:
            return "crashed", "the program closed its end of the socket"
        time.sleep(0.001)
    code = os.waitstatus_to_exitcode(status)
    if code == program.NO_MEMORY_LEFT:
        return "out_of_memory", "MemoryError"
    if code >= 0:
        return "crashed", f"the program ended its process with exit code {code}"
    if code == -signal.SIGKILL:
        if 2 * _grown(usage) > settings["memory_bytes"]:  # else the limit on CPU time sends it
            return "out_of_memory", "killed for its memory"
        return "timeout", f"used up {settings['cpu_seconds']} seconds of CPU time"
    return "crashed", f"ended by {signal.Signals(-code).name}"


def _program_job(theirs: int, settings: dict[str, Any]) -> None:
    """The program's process: nothing but its end of the socket is left open."""
    os.dup2(theirs, 3)
    os.closerange(4, 1 << 16)
    os.chdir("/tmp")  # noqa: S108
    _lock_down(settings)
    program.serve(3, settings["output_bytes"])


def _lock_down(settings: dict[str, Any]) -> None:
    random.seed(0)  # the same in every run: what a program draws must not decide
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)
    syscalls.limit_resources(
        settings["cpu_seconds"],
        settings["address_space"],
        settings["file_bytes"],
        settings["tasks"],
    )
    syscalls.drop_privileges(bytes.fromhex(settings["filter"]))


if __name__ == "__main__":
    main(int(sys.argv[1]))
