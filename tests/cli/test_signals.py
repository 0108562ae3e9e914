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
def test_what_nobody_heeds_leaves_at_once_and_once(
    handler: SignalHandler, number: signal.Signals
) -> None:
    with pytest.raises(Interrupted):
        send(number)
    assert handler.interrupted
    send(number)  # it is leaving


def test_an_impatient_request_is_not_set(handler: SignalHandler) -> None:
    request = StopRequest()
    with handler.resumable(lambda: True, request), pytest.raises(Interrupted):
        send(signal.SIGTERM)
    assert not request.requested
    assert request.aborted
    assert handler.interrupted


def test_a_patient_request_is_set_first(handler: SignalHandler) -> None:
    request = StopRequest(graceful=True)
    with handler.resumable(lambda: True, request):
        send(signal.SIGINT)
        assert request.requested
        with pytest.raises(Interrupted):
            send(signal.SIGINT)


def test_who_is_about_to_end_is_not_interrupted(handler: SignalHandler) -> None:
    handler.ignore()
    send(signal.SIGINT)
    send(signal.SIGTERM)


def test_no_library_takes_it_for_its_own() -> None:
    assert not issubclass(Interrupted, Exception | KeyboardInterrupt)


def test_a_main_thread_held_up_in_foreign_code_does_not_hold_up_the_end() -> None:
    program = (
        "import hashlib\n"
        "from codeling.cli import signals\n"
        "signals.GRACE_SECONDS = 0.2\n"
        "signals.HANDLER.install()\n"
        "print('held up', flush=True)\n"
        "hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held up\n"
        time.sleep(0.5)
        os.kill(child.pid, signal.SIGINT)
        _, complaint = child.communicate(timeout=20)
    finally:
        child.kill()
    assert child.returncode == 130
    assert complaint.startswith(b"codeling: stopped\n")
    assert complaint.count(b"\n") == 1


@pytest.mark.parametrize("error", [ValueError("odd"), CodelingError("odd"), None])
def test_a_library_that_takes_it_for_an_error_of_its_own(
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
def test_in_the_first_second(arguments: list[str], module: str, tmp_path: Path) -> None:
    """Ctrl-C during the import of ``module``: one line, no traceback, nothing promised."""
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
def test_resuming_is_promised_only_where_it_happens(
    handler: SignalHandler, resumes: bool, message: str
) -> None:
    with pytest.raises(Interrupted), handler.resumable(lambda: resumes):
        send(signal.SIGINT)
    assert handler.message == message
    handler.install()
    assert handler.message == "stopped"
