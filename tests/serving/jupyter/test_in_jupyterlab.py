"""JupyterLab in Chromium: earlier cells, columns of data frames, restarts, and a stopped server.

``CODELING_JUPYTER`` names the Python of an environment where a wheel is installed:
``pip install 'dist/codeling-….whl[jupyter]' pandas``.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ..serve_process import SECRET, free_port, serve_command, wait_for_answer

pytestmark = pytest.mark.proof
WEB = Path(__file__).parents[3] / "web" / "playground"
TOKEN = "jupyters-own-token"
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


def write_notebook(path: Path) -> None:
    cells = []
    for number, (kind, source) in enumerate(CELLS):
        cell = {"cell_type": kind, "metadata": {}, "source": source, "id": f"cell-{number}"}
        cells.append({**cell, "outputs": [], "execution_count": None} if kind == "code" else cell)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4}
    path.write_text(json.dumps({**notebook, "nbformat_minor": 5}))


@contextmanager
def jupyterlab(folder: Path, port: int, **variables: str) -> Iterator[int]:
    """JupyterLab of the other environment in ``folder``; gives its process."""
    python = os.environ.get("CODELING_JUPYTER")
    if python is None:
        pytest.skip("CODELING_JUPYTER names no Python with the wheel and JupyterLab")
    folders = {name: str(folder / name) for name in ("settings", "workspaces", "config")}
    environment = {
        **os.environ,
        **variables,
        "JUPYTERLAB_SETTINGS_DIR": folders["settings"],
        "JUPYTERLAB_WORKSPACES_DIR": folders["workspaces"],
        "JUPYTER_CONFIG_DIR": folders["config"],
        "PATH": f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}",
    }
    command = [python, "-m", "jupyterlab", "--no-browser", "--allow-root", "--port", str(port)]
    with subprocess.Popen(
        [*command, f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={folder}"],
        env=environment, cwd=folder, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        wait_for_answer(f"http://127.0.0.1:{port}/api", 60)
        yield process.pid
        process.terminate()


@pytest.mark.parametrize("starts", ["a person", "jupyter"])
def test_a_notebook_gets_ghost_text(small_model: Path, tmp_path: Path, starts: str) -> None:
    """``starts``: who starts the codeling server, which is stopped and killed in between."""
    chromium, node = shutil.which("chromium"), shutil.which("node")
    if chromium is None or node is None or not (WEB / "node_modules").is_dir():
        pytest.skip("needs chromium, node and make web")
    write_notebook(tmp_path / "nb.ipynb")
    port = free_port()
    options = {"url": f"http://127.0.0.1:{port}", "token": TOKEN, "secret": SECRET}
    options |= {"chromium": chromium, "pictures": str(tmp_path)}
    variables = {"CODELING_TOKEN": SECRET, "CODELING_MODEL": str(small_model)}
    serve: dict[str, list[str]] = {}
    if starts == "a person":
        at = free_port()
        variables["CODELING_URL"] = f"http://127.0.0.1:{at}"
        serve["serve"] = serve_command(small_model, at)
    with jupyterlab(tmp_path, port, **variables) as pid:
        result = subprocess.run(
            [node, "tests/jupyter.mjs", json.dumps({**options, **serve, "pid": str(pid)})],
            cwd=WEB, capture_output=True, text=True, timeout=280, check=False,
        )  # fmt: skip
    print(result.stderr)  # noqa: T201 - times, for the person who runs the proof
    assert result.returncode == 0, result.stderr
    assert result.stdout == "done\n"
