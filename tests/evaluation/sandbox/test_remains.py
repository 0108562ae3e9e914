"""Programs that want to outlive their verdict: within a second nothing of one is left.

Neither files, nor processes, whether the sandbox is left, ended, or its parent killed.
"""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from codeling.evaluation.sandbox import Job, Limits, Sandbox

from .attempts import judged

pytestmark = pytest.mark.usefixtures("sandbox")  # skips where none can start

SECONDS = 1.0
"""Within this everything that a program has left must be gone."""


def test_files_left_in_tmp_are_gone_for_the_next_program(sandbox: Sandbox, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.write_text("secret")
    program = f"""
    import os
    os.symlink({str(canary)!r}, "/tmp/link")
    os.symlink("/", "/tmp/root")
    open("/tmp/left", "w").write("x")
    def attempt():
        try:
            open("/tmp/link", "w").write("changed")
        except OSError:
            return sorted(os.listdir("/tmp"))
    """
    before = set(Path("/tmp").iterdir())
    for _ in range(3):  # on either of the two sandboxes
        verdict = judged(sandbox, program, "assert attempt() == ['left', 'link', 'root']")
        assert verdict.passed, verdict
    new = {path.name for path in set(Path("/tmp").iterdir()) - before}
    assert not {"left", "link", "root"} & new
    assert canary.read_text() == "secret"


STUBBORN = """
import os, signal, threading, time
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
def forever():
    while True: time.sleep(0.01)
for _ in range(5):
    threading.Thread(target=forever).start()
def attempt(): return 1
"""


def _inside(sandbox: Sandbox) -> set[int]:
    """The processes in the sandboxes, besides the first of each."""
    numbers = [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]
    parents = {pid: int(stat[1]) for pid in numbers if (stat := _stat(pid))}
    outer = {worker.pid for worker in sandbox.running}
    first = {pid for pid, parent in parents.items() if parent in outer}
    found: set[int] = set()
    level = first
    while level:
        level = {pid for pid, parent in parents.items() if parent in level}
        found |= level
    return found


def _gone(pids: set[int]) -> bool:
    """No such process, or a dead one whose new parent has not asked for its exit code yet."""
    states = (_stat(pid)[:1] for pid in pids)
    return all(state in ([], ["Z"], ["X"]) for state in states)


def _stat(pid: int) -> list[str]:
    """State, parent and further fields of a process; empty if it does not exist."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


@pytest.mark.parametrize(
    "check", ["assert attempt() == 1", "assert attempt() == 2", "while True: attempt()"]
)
def test_after_a_verdict_nothing_is_left(check: str) -> None:
    limits = Limits(cpu_seconds=1, wall_seconds=8)
    with Sandbox(workers=1, limits=limits) as sandbox:
        judged(sandbox, STUBBORN, check)
        deadline = time.monotonic() + SECONDS
        while _inside(sandbox) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert _inside(sandbox) == set()
        assert judged(sandbox, "def f(): return 1", "assert f() == 1").passed


@pytest.mark.parametrize("program", [STUBBORN + "forever()", "import os\nos.kill(1, 19)\ninput()"])
def test_a_program_that_does_not_end_is_ended(program: str) -> None:
    with Sandbox(workers=1, limits=Limits(wall_seconds=1)) as sandbox:
        start = time.monotonic()
        verdict = judged(sandbox, program + "\nimport time\ntime.sleep(60)", "pass")
        assert verdict.outcome in ("timeout", "failed"), verdict
        assert time.monotonic() - start < 8
        assert _inside(sandbox) == set()


def test_leaving_the_sandbox_ends_every_process() -> None:
    with Sandbox(workers=2, limits=Limits(wall_seconds=60)) as sandbox:
        jobs = sandbox.judge(
            [Job(str(i), STUBBORN, "import time\ntime.sleep(60)") for i in range(2)]
        )
        threading.Thread(target=lambda: list(jobs), daemon=True).start()
        deadline = time.monotonic() + 20
        while len(pids := _inside(sandbox)) < 4:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        pids |= {worker.pid for worker in sandbox.running}
    deadline = time.monotonic() + SECONDS
    while not _gone(pids) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert _gone(pids)


def test_a_killed_parent_leaves_nothing(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from codeling.evaluation.sandbox import Job, Limits, Sandbox\n"
        f"program = {STUBBORN!r}\n"
        "with Sandbox(workers=1, limits=Limits(wall_seconds=60)) as sandbox:\n"
        "    print(*(worker.pid for worker in sandbox.running), flush=True)\n"
        "    list(sandbox.judge([Job('x', program, 'import time\\ntime.sleep(60)')]))\n"
    )
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        outer = {int(pid) for pid in parent.stdout.readline().split()}
    time.sleep(0.5)
    pids = outer | {
        int(folder.name)
        for folder in Path("/proc").glob("[0-9]*")
        if _descends(int(folder.name), outer)
    }
    assert len(pids) >= 2
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + SECONDS
    while not _gone(pids) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert _gone(pids)


def _descends(pid: int, ancestors: set[int]) -> bool:
    while pid > 1 and pid not in ancestors:
        stat = _stat(pid)
        pid = int(stat[1]) if stat else 0
    return pid in ancestors
