"""One sandbox, from outside: start it, send it a job, receive the verdict, end it.

A verdict is valid only with the job's nonce, which this process and the check's process know. The
sandbox enforces the wall clock itself. This process has a later deadline of its own, after which
it ends the whole sandbox.
"""

import contextlib
import hmac
import json
import os
import secrets
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from codeling.errors import SandboxError
from codeling.evaluation.sandbox import bwrap, cgroup, seccomp
from codeling.evaluation.sandbox.jobs import Job, Limits, Verdict

_LENGTH = struct.Struct("<I")
_START_SECONDS = 120.0
_SLACK_SECONDS = 5.0
_INFO_SECONDS = 1.0
"""Bubblewrap reports the process that it starts before that process runs."""
_OWN_TASKS = 3
"""Tasks of every sandbox: the first process, the check's and the program's."""
_MAX_REPLY_BYTES = 1 << 20
_PROBE = Job("probe", "def six_times(x): return 6 * x\n", "assert six_times(7) == 42\n")


class EndedError(Exception):
    """The sandbox has ended or does not respond."""


class Worker:
    """A sandbox that judges one job at a time.

    :raises SandboxError: it cannot start.
    """

    def __init__(self, packages: Sequence[str], limits: Limits) -> None:
        self._limits = limits
        self.cgroup: Path | None = None
        self._control, theirs = socket.socketpair()
        info, info_inside = os.pipe()
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, info)
            failed = stack.enter_context(contextlib.ExitStack())
            failed.callback(self._control.close)
            with theirs:
                try:
                    arguments = bwrap.command(packages, theirs.fileno(), info_inside)
                    self._process = _start(arguments, [theirs.fileno(), info_inside])
                finally:
                    os.close(info_inside)
            failed.callback(self.close)
            self._configure(info, packages)
            failed.pop_all()

    def _configure(self, info: int, packages: Sequence[str]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        settings = {
            "packages": list(packages),
            "filter": seccomp.program().hex(),
            "tmp_files": 10_000,
            "tasks": self._limits.processes + _OWN_TASKS - 1 if _counts_by_namespace() else None,
            **asdict(self._limits),
        }
        try:
            self._send(settings)
            self._receive(deadline)
            if not select.select([info], [], [], _INFO_SECONDS)[0]:
                raise EndedError("bubblewrap does not report which process it has started")
            pid = json.loads(os.read(info, 1 << 12))["child-pid"]
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
            base = pages * os.sysconf("SC_PAGE_SIZE")
            self._in_cgroup(pid)
            self._send({"address_space": base + self._limits.memory_bytes})
            verdict = self._judge(_PROBE)
        except (EndedError, OSError, ValueError, KeyError) as error:
            self._process.kill()
            lines = (self._process.communicate()[1] or b"").decode(errors="replace").split("\n")
            last = next((line for line in reversed(lines) if line.strip()), str(error))
            raise SandboxError(bwrap.explain(f"the sandbox cannot start: {last.strip()}")) from None
        if not verdict.passed:
            raise SandboxError(f"the sandbox does not work: {verdict.outcome} ({verdict.detail})")

    def _in_cgroup(self, pid: int) -> None:
        name = f"codeling-{os.getpid()}-{secrets.token_hex(4)}"
        self.cgroup = cgroup.make(self._limits, name)
        if self.cgroup is not None and not cgroup.put(self.cgroup, pid):
            cgroup.remove(self.cgroup)
            self.cgroup = None

    @property
    def pid(self) -> int:
        """The process of bubblewrap, outside the sandbox."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can judge another job."""
        return self._process.poll() is None and self._control.fileno() >= 0

    def judge(self, job: Job) -> Verdict:
        """Judge ``job``. A sandbox that does not survive it is closed."""
        try:
            return self._judge(job)
        except (EndedError, OSError) as error:
            self.close()
            return Verdict(job.identifier, "crashed", f"the sandbox ended: {error}")

    def _judge(self, job: Job) -> Verdict:
        nonce = secrets.token_hex(32)
        deadline = time.monotonic() + self._limits.wall_seconds + _SLACK_SECONDS
        self._control.sendall(b"J")
        self._send(
            {
                "nonce": nonce,
                "program": job.program,
                "check": job.check,
                "entry_point": job.entry_point,
            }
        )
        verdict: Verdict | None = None
        while True:
            message = self._receive(deadline)
            if "error" in message:
                raise EndedError(message["error"])
            if "ended" in message:
                break
            if hmac.compare_digest(message["nonce"].encode(), nonce.encode()):
                verdict = Verdict(job.identifier, message["outcome"], message["detail"])
        if message["ended"] != 0 or verdict is None:
            self.close()
            return Verdict(job.identifier, *_failure(message, self._limits))
        return verdict

    def close(self) -> None:
        """End the sandbox and every process in it."""
        self._process.kill()
        self._process.wait()
        self._control.close()
        if self.cgroup is not None:
            cgroup.remove(self.cgroup)
        if self._process.stderr is not None:
            self._process.stderr.close()

    def _send(self, message: Any) -> None:
        data = json.dumps(message).encode()
        self._control.settimeout(_SLACK_SECONDS + self._limits.wall_seconds)
        self._control.sendall(_LENGTH.pack(len(data)) + data)

    def _receive(self, deadline: float) -> dict[str, Any]:
        (size,) = _LENGTH.unpack(self._read_exactly(4, deadline))
        if size > _MAX_REPLY_BYTES:
            raise EndedError("its message is too large")
        message: dict[str, Any] = json.loads(self._read_exactly(size, deadline))
        return message

    def _read_exactly(self, count: int, deadline: float) -> bytes:
        data = b""
        while len(data) < count:
            self._control.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                part = self._control.recv(count - len(data))
            except TimeoutError:
                raise EndedError("it does not respond") from None
            if not part:
                raise EndedError("it has closed the connection")
            data += part
        return data


def _failure(message: dict[str, Any], limits: Limits) -> tuple[Any, str]:
    """Outcome and detail of a job whose check's process was ended before its verdict."""
    if message["killed"]:
        return "timeout", f"the check hung for {limits.wall_seconds:g} s"
    if message["ended"] == -9 and 2 * message["grown_bytes"] > limits.memory_bytes:
        return "out_of_memory", "the check was killed for its memory"
    if message["ended"] == -9:
        return "timeout", f"the check used up {limits.cpu_seconds} s of CPU time"
    return "crashed", f"the check's process ended with {message['ended']}"


def _start(arguments: list[str], opened: list[int]) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=opened,
            cwd="/",
            env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
    except OSError as error:
        raise SandboxError(f"the sandbox cannot start: {error}") from None


def _counts_by_namespace() -> bool:
    """Whether the kernel counts processes separately for each user namespace (Linux 5.14)."""
    major, minor = os.uname().release.split(".")[:2]
    return (int(major), int("".join(filter(str.isdigit, minor)) or 0)) >= (5, 14)
