"""Where a sandbox cannot start it says why, in one line, and runs nothing."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from codeling.errors import SandboxError
from codeling.evaluation.sandbox import Job, Limits, Sandbox, bwrap, cgroup, seccomp


def test_without_bubblewrap_nothing_is_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxError, match="install bubblewrap") as caught, Sandbox():
        pass
    assert "\n" not in str(caught.value)


def test_a_bubblewrap_that_fails_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    fake.chmod(0o755)
    tmp_path.chmod(0o755)
    monkeypatch.setattr(bwrap, "bubblewrap", lambda: str(fake))
    with pytest.raises(SandboxError, match="cannot start: ") as caught, Sandbox(workers=1):
        pass
    assert "\n" not in str(caught.value)


def test_a_bubblewrap_that_isolates_nothing_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Runs what it is given, without any sandbox: the first process inside then has no right to
    # make namespaces, or finds none of its files; either way no program is run.
    fake = tmp_path / "bwrap"
    fake.write_text('#!/bin/sh\nwhile [ "$1" != "--" ]; do shift; done\nshift\nexec "$@"\n')
    fake.chmod(0o755)
    monkeypatch.setattr(bwrap, "bubblewrap", lambda: str(fake))
    canary = tmp_path / "canary"
    with pytest.raises(SandboxError), Sandbox(workers=1) as sandbox:
        list(sandbox.judge([Job("x", f"open({str(canary)!r}, 'w')", "")]))
    assert not canary.exists()


def test_a_bubblewrap_that_names_no_process_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # It answers as the first process inside does, but never says which process that is.
    answer = (
        "import socket, sys, time\n"
        "control = socket.socket(fileno=int(sys.argv[1]))\n"
        "control.recv(1)\n"
        r"control.sendall(b'\2\0\0\0{}')" + "\ntime.sleep(60)\n"
    )

    def command(packages: object, control: int, info: int) -> list[str]:
        return [sys.executable, "-c", answer, str(control)]

    monkeypatch.setattr(bwrap, "command", command)
    with pytest.raises(SandboxError, match="does not report which process"), Sandbox(workers=1):
        pass


def test_only_the_block_is_judged() -> None:
    with pytest.raises(RuntimeError, match="between entering and leaving"):
        next(Sandbox().judge([Job("x", "", "")]))


def test_a_package_that_is_not_installed_is_named(sandbox: Sandbox) -> None:
    with pytest.raises(SandboxError, match="pip install no-such-package"):
        Sandbox(packages=("no-such-package",), workers=1).__enter__()


def test_packages_bring_what_they_require() -> None:
    assert {"pandas", "numpy", "python-dateutil"} <= bwrap._with_requirements(["pandas"])


def test_packages_can_be_imported_and_others_cannot(sandbox: Sandbox) -> None:
    program = "import numpy as np\ndef total(x): return np.asarray(x).sum(axis=0)"
    check = "import numpy\nassert numpy.array_equal(total([[1, 2], [3, 4]]), numpy.array([4, 6]))"
    with Sandbox(packages=("numpy",), workers=1, limits=Limits(wall_seconds=30)) as other:
        [verdict] = other.judge([Job("x", program, check)])
        [absent] = other.judge([Job("x", "import pandas", "pass")])
    assert verdict.passed, verdict
    assert "No module named 'pandas'" in absent.detail
    [without] = sandbox.judge([Job("x", program, check)])
    assert "No module named 'numpy'" in without.detail


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_user_without_any_privilege_can_use_it(sandbox: Sandbox, tmp_path: Path) -> None:
    # Where the interpreter lies under a folder that others may not enter, there is no other user
    # who could try.
    parents = Path(sys.executable).resolve().parents
    if any(not parent.stat().st_mode & 0o005 for parent in parents):
        pytest.skip("other users cannot reach this interpreter")
    script = (
        "from codeling.evaluation.sandbox import Job, Sandbox\n"
        "with Sandbox(workers=1) as s:\n"
        "    job = Job('x', 'def f(): return 1', 'assert f() == 1')\n"
        "    print([verdict.outcome for verdict in s.judge([job])])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        user=65_534,
        group=65_534,
        extra_groups=[],
        env={"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.environ["PATH"]},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "['passed']", done.stderr


class Kernel:
    """Runs a filter as the kernel does: classic BPF on ``struct seccomp_data``."""

    def __init__(self, machine: str) -> None:
        code = seccomp.program(machine)
        self.steps = [
            (
                int.from_bytes(code[i : i + 2], "little"),
                code[i + 2],
                code[i + 3],
                int.from_bytes(code[i + 4 : i + 8], "little"),
            )
            for i in range(0, len(code), 8)
        ]

    def judge(self, architecture: int, number: int, *arguments: int) -> int:
        """What the filter answers."""
        data = number.to_bytes(4, "little") + architecture.to_bytes(4, "little") + bytes(8)
        data += b"".join((a & (1 << 64) - 1).to_bytes(8, "little") for a in arguments)
        data = data.ljust(64, b"\0")
        accumulator = place = 0
        while True:
            operation, if_true, if_false, value = self.steps[place]
            place += 1
            if operation == seccomp.LOAD_WORD:
                accumulator = int.from_bytes(data[value : value + 4], "little")
            elif operation == seccomp.AND:
                accumulator &= value
            elif operation == seccomp.JUMP_EQUAL:
                place += if_true if accumulator == value else if_false
            else:
                assert operation == seccomp.RETURN
                return value


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_allows_what_it_lists_and_nothing_else(machine: str) -> None:
    kernel = Kernel(machine)
    column = ("x86_64", "aarch64").index(machine)
    architecture = seccomp.AUDIT_ARCH[machine]
    allowed = set(seccomp.allowed(machine).values())
    conditional = {rule.numbers[column] for rule in seccomp.RULES}
    assert not allowed & conditional
    for number in range(1_024):
        answer = kernel.judge(architecture, number)
        if number in allowed:
            assert answer == seccomp.ALLOW
        elif number not in conditional:
            assert answer == seccomp.ERRNO | seccomp.ENOSYS
    assert kernel.judge(0x40000003, 1) == seccomp.KILL_PROCESS  # i386
    assert kernel.judge(architecture, 0x40000000 + 39) == seccomp.ERRNO | seccomp.ENOSYS  # x32
    clone = next(rule for rule in seccomp.RULES if rule.name == "clone").numbers[column]
    assert kernel.judge(architecture, clone, 17) == seccomp.ERRNO | seccomp.EPERM
    assert kernel.judge(architecture, clone, 0x3D0F00) == seccomp.ALLOW  # what pthreads asks
    assert kernel.judge(architecture, clone, 0x3D0F00 | 0x10000000) != seccomp.ALLOW
    prlimit = next(rule for rule in seccomp.RULES if rule.name == "prlimit64").numbers[column]
    assert kernel.judge(architecture, prlimit, 0) == seccomp.ALLOW
    assert kernel.judge(architecture, prlimit, 1) != seccomp.ALLOW


def test_the_numbers_are_those_of_this_system() -> None:
    header = Path("/usr/include/asm-generic/unistd.h")
    x86 = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if not (header.exists() and x86.exists()):
        pytest.skip("no kernel headers here")
    found = _numbers(x86)
    for name, number in seccomp.allowed("x86_64").items():
        assert found[name] == str(number)
    generic = _numbers(header)
    for name, number in seccomp.allowed("aarch64").items():
        assert generic[{"newfstatat": "fstatat"}.get(name, name)] == str(number)


def _numbers(header: Path) -> dict[str, str]:
    lines = re.findall(
        r"^#define __NR(?:3264)?_(\w+) (\d+)", header.read_text(), flags=re.MULTILINE
    )
    return dict(lines)


def test_where_no_cgroup_may_be_made_there_is_none(tmp_path: Path) -> None:
    assert cgroup.make(Limits(), "x", root=tmp_path, own="/") is None
    (tmp_path / "cgroup.controllers").write_text("")
    (tmp_path / "mine").mkdir()
    assert cgroup.make(Limits(), "x", root=tmp_path, own="/mine") is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cgroup.controllers", "mine"]


def test_a_cgroup_bounds_the_whole_sandbox() -> None:
    probe = cgroup.make(Limits(), f"codeling-test-{os.getpid()}")
    if probe is None:
        pytest.skip("no cgroup may be made here")
    cgroup.remove(probe)
    with Sandbox(workers=1, limits=Limits(memory_bytes=64 << 20)) as sandbox:
        [worker] = sandbox.running
        assert worker.cgroup is not None
        assert (worker.cgroup / "pids.max").read_text().strip() == "48"
        folder = worker.cgroup
    assert not folder.exists()


def test_bubblewrap_is_looked_for_on_the_path() -> None:
    if shutil.which("bwrap"):
        assert bwrap.bubblewrap() == shutil.which("bwrap")
