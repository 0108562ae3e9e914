"""``codeling serve`` as a process of its own, for the proofs in a browser."""

import json
import os
import socket
import subprocess
import sysconfig
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

COMMAND = Path(sysconfig.get_paths()["scripts"]) / "codeling"
SECRET = "the-token-of-the-codeling-server"


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


def wait_for_answer(url: str, seconds: float) -> None:
    """Wait until a server that is starting answers at ``url``."""
    end = monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(url).close()
            break
        except OSError:
            assert monotonic() < end
            sleep(0.5)


def serve_command(model: Path, port: int, *options: str) -> list[str]:
    return [str(COMMAND), "serve", str(model), "--port", str(port), "--json", *options]


@contextmanager
def served(model: Path, *options: str) -> Iterator[str]:
    """The URL of a server whose token is :data:`SECRET`."""
    with subprocess.Popen(
        serve_command(model, 0, *options), stdout=subprocess.PIPE, text=True,
        env={**os.environ, "CODELING_TOKEN": SECRET},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
        process.terminate()
