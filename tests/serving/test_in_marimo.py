"""marimo in Chromium, with the settings that ``codeling doctor --editor marimo`` prints.

``CODELING_MARIMO`` names the Python of an environment with ``marimo[recommended]``.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from codeling.serving.editors import EDITORS

from .serve_process import SECRET, free_port, served, wait_for_answer

pytestmark = pytest.mark.proof
WEB = Path(__file__).parents[2] / "web" / "playground"
NOTEBOOK = """import marimo

app = marimo.App()


@app.cell
def _():
    def compute_total(first, second):
        return first + second


    result = compute_total(11, 22)
    result = compute_total(11, 22)
    return (compute_total,)


@app.cell
def _():
    return


if __name__ == "__main__":
    app.run()
"""


@contextmanager
def marimo(python: str, folder: Path, settings: str) -> Iterator[str]:
    """The URL of marimo on the notebook in ``folder``, which is its home too."""
    (folder / "marimo.toml").write_text(settings)
    config = folder / ".config" / "marimo"
    config.mkdir(parents=True)
    shutil.move(folder / "marimo.toml", config)
    port = free_port()
    command = [python, "-m", "marimo", "edit", "nb.py", "--headless", "--no-token"]
    environment = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder / ".config")}
    with subprocess.Popen(
        [*command, "--skip-update-check", "--port", str(port)],
        env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        url = f"http://127.0.0.1:{port}"
        wait_for_answer(f"{url}/health", 90)
        yield url
        process.terminate()


def test_a_cell_gets_ghost_text_and_tab_accepts_it(small_model: Path, tmp_path: Path) -> None:
    """The second cell calls a function of the first, which the server has read from the file."""
    chromium, node = shutil.which("chromium"), shutil.which("node")
    python = os.environ.get("CODELING_MARIMO")
    if python is None or not chromium or not node or not (WEB / "node_modules").is_dir():
        pytest.skip("needs CODELING_MARIMO, chromium, node and make web")
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "nb.py").write_text(NOTEBOOK)
    with (
        served(small_model, "--project", str(folder), "--aggressiveness", "eager") as address,
        marimo(python, folder, EDITORS["marimo"].settings(address, SECRET)) as url,
    ):
        options = {"url": url, "chromium": chromium, "pictures": str(tmp_path)}
        result = subprocess.run(
            [node, "tests/marimo.mjs", json.dumps(options)],
            cwd=WEB, capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip
    print(result.stderr)  # noqa: T201 - times, for the person who runs the proof
    assert result.returncode == 0, result.stderr
    assert result.stdout == "done\n"
