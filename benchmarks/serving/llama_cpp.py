"""llama.cpp's server with a model of ours, for :mod:`benchmarks.serving.latency`.

The binary is ``llama-server`` of https://github.com/ggml-org/llama.cpp, built for this processor
(``GGML_NATIVE``).
"""

import http.client
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from codeling.export.export_source import ExportSource
from codeling.export.gguf import write_gguf

_MAX_NEW = 32
"""Positions of the context that are left for new tokens."""
_START_SECONDS = 60.0


@contextmanager
def llama_server(binary: Path, model: str, num_threads: int) -> Iterator[str]:
    """URL of llama.cpp's server for ``model`` in q8_0.

    Its prompt begins with the text before the cursor, up to three quarters of ``-b`` tokens; the
    text after the cursor gets a quarter. Our models are not trained with its other order
    (``--spm-infill``), which begins with ``<fim_suffix>``.

    :raises SystemExit: it does not start.
    """
    source = ExportSource.read(model)
    context = source.config.context_length
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        write_gguf(source, path, "q8_0")
        batch = context - _MAX_NEW
        command = f"{binary} -np 1 -t {num_threads} -c {context} -b {batch} -ub {batch}".split()
        command += ["--port", str(port), "-m", str(path)]
        with (Path(folder) / "log").open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            if not _answers(process, port):
                raise SystemExit(f"{binary} does not start:\n{(Path(folder) / 'log').read_text()}")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def _answers(process: "subprocess.Popen[bytes]", port: int) -> bool:
    """Wait until the server has loaded its model; False if it ends before."""
    until = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return True
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.1)
    return False
