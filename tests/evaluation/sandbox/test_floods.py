"""Programs that want all of the machine: memory, threads, disk, output. None gets it.

Not covered: timing, or the load that a program puts on the machine while it runs; the bound on
memory of a sandbox as a whole where no cgroup may be made (each process has its own).
"""

import textwrap
from pathlib import Path

import pytest

from codeling.evaluation.sandbox import Limits, Sandbox

from .attempts import blocked, judged

pytestmark = pytest.mark.usefixtures("sandbox")  # skips where none can start

MEMORY = {
    "10 GB at once": "x = bytes(10**10)",
    "10 GB in pieces": "x = []\nwhile True: x.append(bytes(10**7))",
    "a mapping": "import mmap\nx = mmap.mmap(-1, 10**10)",
    "a shared mapping": "import mmap\nx = mmap.mmap(-1, 10**10, mmap.MAP_SHARED)",
    "a file mapped": """
import mmap
with open('/tmp/x', 'wb') as f:
    f.truncate(10**10)
""",
    "text": "x = 'a' * 10**10",
    "small objects": "x = []\nwhile True: x.extend(range(1000, 100000))",
}


@pytest.mark.parametrize("name", MEMORY)
def test_memory(name: str, sandbox: Sandbox) -> None:
    program = f"def attempt():\n{textwrap.indent(MEMORY[name], '    ')}\n"
    before = _free_memory()
    verdict = judged(sandbox, program, "attempt()")
    assert verdict.outcome in ("out_of_memory", "failed", "timeout"), verdict
    assert _free_memory() > before - (2 << 30)


def _free_memory() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no MemAvailable")


def test_the_number_of_threads_is_limited() -> None:
    program = """
    import threading
    def attempt():
        started, event = 0, threading.Event()
        threading.stack_size(65_536)
        try:
            while started < 5_000:
                threading.Thread(target=event.wait, daemon=True).start()
                started += 1
        except RuntimeError:
            pass
        event.set()
        return started
    """
    for number in (8, 32):
        with Sandbox(workers=1, limits=Limits(processes=number, wall_seconds=20)) as sandbox:
            verdict = judged(sandbox, program, f"assert attempt() == {number - 1}, attempt()")
        assert verdict.passed, verdict


def test_a_disk_that_is_filled(sandbox: Sandbox) -> None:
    program = """
    import os
    def attempt():
        written = 0
        for number in range(10_000):
            try:
                with open(f"/tmp/{number}", "wb") as file:
                    for _ in range(100):
                        written += file.write(bytes(1 << 16))
                        file.flush()
            except OSError as error:
                reason = error.errno
                if reason == 28: break
        return written, reason
    """
    # One file ends at file_bytes (EFBIG), all together at tmp_bytes (ENOSPC).
    check = """
    written, reason = attempt()
    assert 7 << 20 < written <= 9 << 20, written
    assert reason == 28, reason
    """
    verdict = judged(sandbox, program, check)
    assert verdict.passed, verdict


def test_many_small_files(sandbox: Sandbox) -> None:
    program = """
    def attempt():
        for number in range(1_000_000):
            open(f"/tmp/{number}", "w").close()
    """
    blocked(sandbox, program, "OSError")


@pytest.mark.parametrize(
    "write", ["print('x' * 10**6)", "os.write(1, b'x' * 10**6)", "sys.stderr.write('x' * 10**6)"]
)
def test_a_gigabyte_of_output_goes_nowhere(write: str, sandbox: Sandbox) -> None:
    program = f"import os, sys\ndef attempt():\n    for _ in range(1_000): {write}\n    return 1"
    verdict = judged(sandbox, program, "assert attempt() == 1")
    assert verdict.outcome in ("passed", "timeout"), verdict


def test_a_gigabyte_as_an_answer_is_refused(sandbox: Sandbox) -> None:
    for answer in ("bytes(5 * 10**8)", "['x' * 10**6] * 500", "{'x': 'x' * 10**8}"):
        verdict = judged(sandbox, f"def attempt(): return {answer}", "attempt()")
        assert verdict.outcome in ("refused", "out_of_memory", "timeout"), verdict
