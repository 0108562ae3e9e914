"""The end of the process, with and without the main process's help; what it answers is tested in
``test_scaled_service.py``."""

import os
import queue
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from codeling.serving.engine_loading import load_engine
from codeling.serving.settings import ServerLimits
from codeling.serving.worker_process import Message, WorkerProcess

PARENT = """
import os, queue, signal, sys
from functools import partial
from codeling.serving.engine_loading import load_engine
from codeling.serving.settings import ServerLimits
from codeling.serving.worker_process import WorkerProcess

if __name__ == "__main__":
    messages = queue.SimpleQueue()
    process = WorkerProcess(
        partial(load_engine, sys.argv[1], "cpu"), ServerLimits(), 0.0,
        lambda _, message: messages.put(message),
    )
    assert messages.get() == "ready"
    os.kill(process.pid, signal.SIGINT)  # Ctrl-C reaches all processes of a terminal
    print(process.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_ends_with_a_main_process_that_is_killed(small_model: Path, tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    command = [sys.executable, str(tmp_path / "parent.py"), str(small_model)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL
    end = time.monotonic() + 10
    while True:
        try:
            os.kill(int(done.stdout), 0)
        except ProcessLookupError:
            break
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGSTOP")
def test_a_process_that_does_not_end_is_killed(
    small_model: Path,
) -> None:
    messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
    load = partial(load_engine, str(small_model), "cpu")
    process = WorkerProcess(load, ServerLimits(), 0.0, lambda _, message: messages.put(message))
    assert messages.get(timeout=30) == "ready"
    os.kill(process.pid, signal.SIGSTOP)
    process.end()
    process.join(0.1)
    said = ["ready"]
    while said[-1] != "ended":
        said.append(str(messages.get(timeout=10)))
    assert {*said} <= {"ready", "heartbeat", "ended"}
    assert process.exit_code == -signal.SIGKILL
