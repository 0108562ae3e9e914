"""JupyterLab in Chromium: earlier cells, columns of data frames, restarts, and a stopped server.

``CODELING_JUPYTER`` names the Python of an environment where a wheel is installed:
``pip install 'dist/codeling-….whl[jupyter]' pandas``.
"""

import json
import os
import shutil
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest
import uvicorn

from codeling.generation.engine import Engine
from codeling.memory.gating.parameters import load_parameters
from codeling.memory.mixture import MemoryMixture
from codeling.serving.http.server import application, listen
from codeling.serving.settings import ServerSettings

pytestmark = pytest.mark.proof
WEB = Path(__file__).parents[3] / "web" / "playground"
SECRET, TOKEN = "the-token-of-the-codeling-server", "jupyters-own-token"
CELLS = [
    ("markdown", "# Load the data"),
    (
        "code",
        "def compute_total(first, second):\n    return first + second\n\n\n"
        "result = compute_total(11, 22)\nresult = compute_total(11, 22)",
    ),
    (
        "code",
        'import pandas as pd\nname = "quarter" + "ly_revenue"\n'
        'df = pd.DataFrame({name: [1], "customer_" + "segment": ["a"]})',
    ),
    ("code", ""),
]


@pytest.fixture
def codeling_url(engine: Engine) -> Iterator[str]:
    engine.memory = MemoryMixture(load_parameters(), engine.tokenizer.token_bytes)
    app = application(engine, ServerSettings(token=SECRET, threshold=0.0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
    bound = listen("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, args=([bound],))
    thread.start()
    yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    server.should_exit = True
    thread.join()


def write_notebook(path: Path) -> None:
    cells = []
    for number, (kind, source) in enumerate(CELLS):
        cell = {"cell_type": kind, "metadata": {}, "source": source, "id": f"cell-{number}"}
        cells.append({**cell, "outputs": [], "execution_count": None} if kind == "code" else cell)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4}
    path.write_text(json.dumps({**notebook, "nbformat_minor": 5}))


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


@pytest.fixture
def lab_url(codeling_url: str, tmp_path: Path) -> Iterator[str]:
    """JupyterLab of the other environment, on the notebook."""
    python = os.environ.get("CODELING_JUPYTER")
    if python is None:
        pytest.skip("CODELING_JUPYTER names no Python with the wheel and JupyterLab")
    write_notebook(tmp_path / "nb.ipynb")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    folders = {name: str(tmp_path / name) for name in ("settings", "workspaces", "config")}
    environment = {
        **os.environ,
        "CODELING_URL": codeling_url,
        "CODELING_TOKEN": SECRET,
        "JUPYTERLAB_SETTINGS_DIR": folders["settings"],
        "JUPYTERLAB_WORKSPACES_DIR": folders["workspaces"],
        "JUPYTER_CONFIG_DIR": folders["config"],
        "PATH": f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}",
    }
    command = [python, "-m", "jupyterlab", "--no-browser", "--allow-root", "--port", str(port)]
    with subprocess.Popen(
        [*command, f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={tmp_path}"],
        env=environment, cwd=tmp_path, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        end = monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{url}/api").close()
                break
            except OSError:
                assert monotonic() < end
                sleep(0.5)
        yield url
        process.terminate()


def test_a_notebook_gets_ghost_text(lab_url: str, tmp_path: Path) -> None:
    chromium, node = shutil.which("chromium"), shutil.which("node")
    if chromium is None or node is None or not (WEB / "node_modules").is_dir():
        pytest.skip("needs chromium, node and make web")
    options = {"url": lab_url, "token": TOKEN, "secret": SECRET}
    options |= {"chromium": chromium, "pictures": str(tmp_path)}
    result = subprocess.run(
        [node, "tests/jupyter.mjs", json.dumps(options)],
        cwd=WEB, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    print(result.stderr)  # noqa: T201 - times, for the person who runs the proof
    assert result.returncode == 0, result.stderr
    assert result.stdout == "done\n"
