"""The page in Chromium: writing, sources, playback, hostile texts, and what axe and the policy say.

Needs Node.js and Chromium; ``make web`` installs the rest.
"""

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn

from codeling.generation.engine import Engine
from codeling.run_folder import RunFolder
from codeling.serving.http.server import application, listen
from codeling.serving.playground.pages import INDEX, STATIC
from codeling.serving.settings import ServerSettings

from .conftest import PASSAGE, TOKEN

pytestmark = pytest.mark.proof
WEB = Path(__file__).parents[3] / "web" / "playground"


PARTS = (
    "writing", "sources", "playback", "dark", "phone", "hostile", "bare model", "stopped server",
    "wrong token",
)  # fmt: skip


@contextmanager
def served(engine: Engine, run: RunFolder | None) -> Iterator[str]:
    """The URL of a server with a socket."""
    app = application(engine, ServerSettings(token=TOKEN, threshold=0.0), run=run)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
    bound = listen("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, args=([bound],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.mark.parametrize("part", PARTS)
def test_the_page_works_in_a_browser(
    remembering: Engine, engine: Engine, run: RunFolder, tmp_path: Path, part: str
) -> None:
    chromium, node = shutil.which("chromium"), shutil.which("node")
    if chromium is None or node is None:
        pytest.skip("needs chromium and node")
    if not (STATIC / INDEX).is_file() or not (WEB / "node_modules").is_dir():
        pytest.skip("the page is not built; make web builds it")
    options = {"token": TOKEN, "chromium": chromium, "pictures": str(tmp_path)}
    options |= {"passage": PASSAGE, "name": part}
    is_bare = part == "bare model"
    with served(engine if is_bare else remembering, None if is_bare else run) as url:
        result = subprocess.run(
            [node, "tests/browser.mjs", json.dumps({**options, "url": url})],
            cwd=WEB, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    print(result.stderr)  # noqa: T201 - times, for the person who runs the proof
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == {"done": [part]}
