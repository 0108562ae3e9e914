"""The first process in the sandbox: loads Python once, and forks for each job.

Each job has two processes, each the first of a PID namespace of its own: the check's, and within
its namespace the program's, which can therefore see neither the check's nor this one. When the
check's process ends, the kernel ends all that the program has started. Only this process may
create namespaces. Both others drop every privilege before they read the job.

:mod:`codeling.evaluation.sandbox.worker` starts this process and communicates with it over one
socket: 4 bytes of length, then JSON. It must not read a job itself, because the program's process
is a copy of its memory.
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
"""Time for the check's process to report that the wall clock has run out, before it is killed."""

# The modules that programs import most: loaded once here instead of once for each job.
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
    """Run jobs until the host closes its end of ``control``."""
    settings = read_message(control)
    for name in (*_COMMON.split(), *settings["packages"]):
        importlib.import_module(name)
    if settings["packages"]:
        arrays = importlib.import_module("codeling.evaluation.sandbox.inside.codec.arrays")
        remote.FOREIGN_ATTRIBUTES.update(arrays.register(settings["packages"]))
    os.environ.clear()
    os.dup2(1, 2)  # up to here the host reads error messages
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
        report = _wait_for(child, control, settings["wall_seconds"] + GRACE_SECONDS)
        write_message(control, report)


def _run(work: Any, *arguments: Any) -> None:
    """Run a child's work; it must not return into its parent's loop."""
    try:
        work(*arguments)
    finally:
        os._exit(70)


def _wait_for(child: int, control: int, seconds: float) -> dict[str, Any]:
    """Wait for the check's process, kill it at its deadline, and return how it ended."""
    poll = select.poll()
    ended = os.pidfd_open(child)
    poll.register(ended, select.POLLIN)
    poll.register(control, 0)  # reports only that the host has closed it
    events = poll.poll(1_000 * seconds)
    killed = not any(fd == ended for fd, _ in events)
    if killed:
        os.kill(child, signal.SIGKILL)
    status, usage = os.wait4(child, 0)[1:]
    os.close(ended)
    if any(fd == control for fd, _ in events):
        os._exit(0)
    code = os.waitstatus_to_exitcode(status)
    return {"ended": code, "killed": killed, "grown_bytes": _memory_growth(usage)}


def _memory_growth(usage: resource.struct_rusage) -> int:
    """Bytes of peak memory that a child had beyond this process's own peak."""
    return 1024 * (usage.ru_maxrss - resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _check_job(control: int, settings: dict[str, Any]) -> None:
    """The check's process: fork the program's, read the job, judge it, report to the host."""
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

    def report(outcome: str, detail: str) -> None:
        # The program may have influenced the text, which will be shown on a terminal.
        shown = "".join(letter if letter.isprintable() else " " for letter in detail[:1_000])
        message = {"nonce": job["nonce"], "outcome": outcome, "detail": shown}
        write_message(control, message)
        os._exit(0)

    def on_timeout(number: int, frame: Any) -> None:
        report("timeout", f"not done after {settings['wall_seconds']:g} s")

    signal.signal(signal.SIGALRM, on_timeout)
    signal.setitimer(signal.ITIMER_REAL, settings["wall_seconds"])
    limit = settings["output_bytes"]
    outcome, detail = checker.run_check(
        ours, limit, job["program"], job["check"], job["entry_point"]
    )
    signal.setitimer(signal.ITIMER_REAL, 0)
    if outcome == "crashed":
        outcome, detail = _failure(child, settings)
    report(outcome, detail)


def _failure(child: int, settings: dict[str, Any]) -> tuple[str, str]:
    """Outcome and detail of a job whose program's process has ended."""
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
        if (
            2 * _memory_growth(usage) > settings["memory_bytes"]
        ):  # otherwise the limit on CPU time killed it
            return "out_of_memory", "killed for its memory"
        return "timeout", f"used up {settings['cpu_seconds']} s of CPU time"
    return "crashed", f"ended by {signal.Signals(-code).name}"


def _program_job(theirs: int, settings: dict[str, Any]) -> None:
    """The program's process: only its end of the socket stays open."""
    os.dup2(theirs, 3)
    os.closerange(4, 1 << 16)
    os.chdir("/tmp")  # noqa: S108
    _lock_down(settings)
    program.serve(3, settings["output_bytes"])


def _lock_down(settings: dict[str, Any]) -> None:
    random.seed(0)  # the same in every run, so that random numbers change no verdict
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
