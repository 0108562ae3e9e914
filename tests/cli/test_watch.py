"""The live page of a run, in Chromium for a run that is killed, resumed and ended."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .conftest import COMMAND, Call

WEB = Path(__file__).parents[2] / "web" / "playground"


@pytest.fixture(scope="module", autouse=True)
def _needs_the_extra() -> None:
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")


def test_mistakes_are_one_line(main: Call, tmp_path: Path) -> None:
    for arguments, message in (
        ([tmp_path / "nowhere"], "not a run folder"),
        ([tmp_path, "--port", "70000"], "--port"),
    ):
        answer = main("watch", *arguments)
        assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
        assert message in answer.err


def started(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True, **options
    )


@contextmanager
def watched(run: Path, pictures: Path) -> Iterator[Callable[[str], Any]]:
    """A function that takes a picture of the page of ``run`` and returns its contents."""
    command = [sys.executable, str(COMMAND), "watch", str(run), "--port", "0", "--json"]
    with started(*command) as server:
        assert server.stdout is not None
        address = json.loads(server.stdout.readline())
        options = {**address, "chromium": shutil.which("chromium"), "pictures": str(pictures)}
        node = shutil.which("node") or "node"
        with started(node, "tests/watch.mjs", json.dumps(options), cwd=WEB) as page:

            def look(name: str) -> Any:
                assert page.stdin is not None
                assert page.stdout is not None
                page.stdin.write(f"{name}\n")
                page.stdin.flush()
                return json.loads(page.stdout.readline())

            yield look
            page.communicate()
        server.terminate()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def check_curve(shown: Any, step: int) -> None:
    """One piece without a gap or a step back, up to ``step``."""
    assert shown["complaints"] == []
    assert (shown["step"], shown["pieces"], len(shown["xs"])) == (step, 1, step)
    assert shown["xs"] == sorted(shown["xs"])


@pytest.fixture
def browser() -> None:
    if not all(map(shutil.which, ("chromium", "node"))) or not (WEB / "node_modules").is_dir():
        pytest.skip("needs chromium, node and make web")


@pytest.mark.proof
@pytest.mark.usefixtures("browser")
def test_a_killed_and_resumed_run_is_one_unbroken_curve(recipe_file: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(recipe_file.read_text().replace("steps = 30", "steps = 700"))
    run = tmp_path / "run"
    train = [sys.executable, str(COMMAND), "train", str(recipe), "--out", str(run)]

    def last_step() -> int:
        path = run / "metrics.jsonl"
        lines = path.read_text().splitlines()[:-1] if path.exists() else []
        return max((json.loads(line)["step"] for line in lines), default=0)

    def trained() -> subprocess.Popen[bytes]:
        return subprocess.Popen(train, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    process = trained()
    try:
        until(lambda: (run / "recipe.toml").exists())
        with watched(run, tmp_path) as look:
            until(lambda: last_step() > 100)
            until(lambda: look("training")["step"] > 50)
            process.kill()
            process.wait()
            killed_at = last_step()
            process = trained()
            until(lambda: last_step() > killed_at + 50)
            until(lambda: look("resumed")["step"] > killed_at)
            with watched(run, tmp_path) as second:  # a page that is opened later
                until(lambda: second("second")["step"] > killed_at)
            assert process.wait(90) == 0
            until(lambda: bool(look("ended")["step"] == 700))
            shown = look("ended")
            check_curve(shown, 700)
            assert shown["state"] == "The training is finished."
            assert shown["left"] == "0 s"
            assert "def read_lines" in shown["sample"]
            assert len(shown["rows"]) == 4
        with watched(run, tmp_path) as look:
            until(lambda: bool(look("afterwards")["step"] == 700))
            check_curve(look("afterwards"), 700)
    finally:
        process.kill()


MARKUP = """<script>alert(1)</script><img src=x onerror="alert(2)"><svg onload=alert(3)>
</pre></code><iframe srcdoc="<script>alert(4)</script>"></iframe>{{7*7}} <fim_prefix><|endoftext|>
data: {"kind": "history", "name": "another", "lines": []}

javascript:alert(5) """
BIDI = "\u202e\u2066\u200b\ufeff\x1b"
HOSTILE = f"{MARKUP}{BIDI}"
AS_SHOWN = f"{MARKUP}‹U+202E›‹U+2066›‹U+200B›‹U+FEFF›‹U+001B›"


@pytest.mark.proof
@pytest.mark.usefixtures("browser")
def test_hostile_texts_of_a_run_are_shown_as_text(tmp_path: Path) -> None:
    run = tmp_path / "<img src=x onerror=alert(6)>\u202e"
    run.mkdir()
    (run / "recipe.toml").touch()
    step = {"num_steps": 2, "tokens": 8, "loss": 1.0, "tokens_per_second": 9.0, "seconds": 1.0}
    (run / "metrics.jsonl").write_text(
        "".join(json.dumps({"kind": "step", "step": n, **step}) + "\n" for n in (1, 2))
    )
    rows = [[{"text": HOSTILE}, {"special": "<fim_prefix>"}, {"text": HOSTILE}]]
    (run / "last_step.json").write_text(json.dumps({"step": 2, "rows": rows}))

    def write_sample(completion: str) -> None:
        sample = {"step": 2, "prompt": HOSTILE, "completion": completion}
        with (run / "samples.jsonl").open("a") as file:
            file.write(json.dumps(sample) + "\n")

    write_sample(HOSTILE)
    with watched(run, tmp_path) as look:
        until(lambda: bool(look("hostile")["step"] == 2 and look("hostile")["rows"]))
        shown = look("hostile")
        assert shown["complaints"] == []
        assert shown["name"] == "<img src=x onerror=alert(6)>‹U+202E›"
        assert shown["sample"] == f"at step 2{AS_SHOWN}{AS_SHOWN}"
        assert shown["rows"] == [f"{AS_SHOWN}<fim_prefix>{AS_SHOWN}"]
        assert shown["special"] == ["<fim_prefix>"]  # the names in the texts are not framed
        assert set(shown["tags"]) == {"p", "pre", "code", "span", "mark"}
        large = HOSTILE * (5_000_000 // len(HOSTILE))
        write_sample(large)
        began = time.monotonic()
        until(lambda: len(look("large")["sample"]) > 4_000_000)
        assert time.monotonic() - began < 20
        shown = look("large")
        assert shown["complaints"] == []
        assert "</script>" in shown["sample"]
        assert not set(BIDI) & set(shown["sample"])
