import os
import signal
import subprocess
import sys
import time

import pytest

from codeling import cli
from codeling.cli.signals import Interrupted, Listener
from codeling.errors import CodelingError
from codeling.run import StopRequest


@pytest.fixture
def listener() -> Listener:
    listener = Listener()
    listener.listen()
    return listener


def send(number: signal.Signals) -> None:
    signal.raise_signal(number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_nobody_heeds_leaves_at_once_and_once(
    listener: Listener, number: signal.Signals
) -> None:
    with pytest.raises(Interrupted):
        send(number)
    assert listener.interrupted
    send(number)  # it is leaving


def test_an_impatient_request_is_not_set(listener: Listener) -> None:
    request = StopRequest()
    with listener.heeding(request), pytest.raises(Interrupted):
        send(signal.SIGTERM)
    assert not request.requested
    assert request.at_once
    assert listener.interrupted


def test_a_patient_request_is_set_first(listener: Listener) -> None:
    request = StopRequest(patient=True)
    with listener.heeding(request):
        send(signal.SIGINT)
        assert request.requested
        with pytest.raises(Interrupted):
            send(signal.SIGINT)


def test_who_is_about_to_end_is_not_interrupted(listener: Listener) -> None:
    listener.leave()
    send(signal.SIGINT)
    send(signal.SIGTERM)


def test_no_library_takes_it_for_its_own() -> None:
    assert not issubclass(Interrupted, Exception | KeyboardInterrupt)


def test_a_main_thread_held_up_in_foreign_code_does_not_hold_up_the_end() -> None:
    program = (
        "import hashlib\n"
        "from codeling.cli import signals\n"
        "signals.GRACE_SECONDS = 0.2\n"
        "signals.LISTENER.listen()\n"
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
    assert child.returncode == 1
    assert complaint.startswith(b"codeling: stopped; ")
    assert complaint.count(b"\n") == 1


@pytest.mark.parametrize("error", [ValueError("odd"), CodelingError("odd"), None])
def test_a_library_that_takes_it_for_an_error_of_its_own(
    error: Exception | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def app(standalone_mode: bool) -> None:
        try:
            send(signal.SIGTERM)
        except Interrupted:
            if error is not None:
                raise error from None
            raise

    monkeypatch.setattr(cli, "app", app)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1
    assert capsys.readouterr().err.startswith("codeling: stopped; ")
