import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from codeling import cli
from codeling.cli.signals import Interrupted, SignalHandler
from codeling.errors import CodelingError
from codeling.run import StopRequest


@pytest.fixture
def handler() -> Iterator[SignalHandler]:
    handler = SignalHandler()
    handler.install()
    yield handler
    signal.set_wakeup_fd(-1)
    for each in handler._sockets or ():
        each.close()


def send(number: signal.Signals) -> None:
    signal.raise_signal(number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_interrupts_once(handler: SignalHandler, number: signal.Signals) -> None:
    with pytest.raises(Interrupted):
        send(number)
    assert handler.interrupted
    send(number)  # already exiting


def test_a_request_that_is_not_graceful_is_aborted(handler: SignalHandler) -> None:
    request = StopRequest()
    with handler.resumable(lambda: True, request), pytest.raises(Interrupted):
        send(signal.SIGTERM)
    assert not request.requested
    assert request.aborted
    assert handler.interrupted


def test_a_graceful_request_is_set_by_the_first_signal(handler: SignalHandler) -> None:
    request = StopRequest(graceful=True)
    with handler.resumable(lambda: True, request):
        send(signal.SIGINT)
        assert request.requested
        with pytest.raises(Interrupted):
            send(signal.SIGINT)


def test_ignored_signals_do_not_interrupt(handler: SignalHandler) -> None:
    handler.ignore()
    send(signal.SIGINT)
    send(signal.SIGTERM)


def test_interrupted_is_not_caught_by_except_exception() -> None:
    assert not issubclass(Interrupted, Exception | KeyboardInterrupt)


def interrupt(program: str, num_signals: int = 1) -> tuple[int, str, str]:
    """Run ``program`` until it prints a line, send signals, return exit code and output."""
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        for _ in range(num_signals):
            time.sleep(0.3)
            os.kill(child.pid, signal.SIGINT)
        out, complaint = child.communicate(timeout=20)
    finally:
        child.kill()
    return child.returncode, out, complaint


def test_a_main_thread_blocked_in_native_code_is_stopped() -> None:
    program = (
        "import hashlib\n"
        "from codeling.cli import signals\n"
        "signals.GRACE_SECONDS = 0.2\n"
        "signals.HANDLER.install()\n"
        "print('ready', flush=True)\n"
        "hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)\n"
    )
    assert interrupt(program) == (130, "", "codeling: stopped\n")


@pytest.mark.parametrize(
    ("limit", "num_signals", "needed"), [(60, 1, 0.5), (0.2, 1, 60), (60, 2, 60)]
)
def test_a_server_may_drain_longer(limit: float, num_signals: int, needed: float) -> None:
    """Until its limit, and for the usual time after a second signal."""
    program = (
        "import time\n"
        "from codeling.cli import signals\n"
        "signals.GRACE_SECONDS = 0.2\n"
        "signals.HANDLER.install()\n"
        f"with signals.HANDLER.draining({limit}):\n"
        "    try:\n"
        "        print('ready', flush=True)\n"
        "        time.sleep(60)\n"
        "    except signals.Interrupted:\n"
        f"        time.sleep({needed})\n"
        "        print('drained')\n"
    )
    expected = (0, "drained\n", "") if needed < 1 else (130, "", "codeling: stopped\n")
    assert interrupt(program, num_signals) == expected


@pytest.mark.parametrize("error", [ValueError("odd"), CodelingError("odd"), None])
def test_an_error_after_a_signal_still_exits_as_interrupted(
    error: Exception | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def app() -> None:
        try:
            send(signal.SIGTERM)
        except Interrupted:
            if error is not None:
                raise error from None
            raise

    monkeypatch.setattr(cli, "_call", app)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 130
    assert capsys.readouterr().err.startswith("codeling: stopped\n")


MODULES = [
    (["doctor"], "typer"),
    (["doctor"], "codeling.cli.app"),
    (["doctor"], "torch"),
    (["run", "tiny.toml"], "codeling.recipe"),
    (["run", "tiny.toml"], "codeling.manifest"),
    (["evaluate", "runs/x", "--all"], "codeling.evaluation.harness"),
]


@pytest.mark.parametrize(("arguments", "module"), MODULES)
def test_a_signal_during_imports_is_one_line(
    arguments: list[str], module: str, tmp_path: Path
) -> None:
    """Ctrl-C during the import of ``module``: one line, no traceback, no promise to resume."""
    (tmp_path / "tiny.toml").touch()
    program = (
        "import signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        "            signal.raise_signal(signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
        f"sys.argv = ['codeling', *{arguments!r}]\n"
        "from codeling.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "codeling: stopped\n"
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.toml"]


@pytest.mark.parametrize(
    ("resumes", "message"),
    [
        (False, "stopped"),
        (True, "stopped; finished work is kept, and the same command continues from there"),
    ],
)
def test_resuming_is_promised_only_where_supported(
    handler: SignalHandler, resumes: bool, message: str
) -> None:
    with pytest.raises(Interrupted), handler.resumable(lambda: resumes):
        send(signal.SIGINT)
    assert handler.message == message
    handler.install()
    assert handler.message == "stopped"
