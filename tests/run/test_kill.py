"""A run killed at any moment and restarted ends complete, and no finished stage is repeated.

Imports take longer than the tiny run, so all but the proof fork the runs.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import pytest

import codeling
from codeling.cli import main
from codeling.training.machine import matrix_rate, set_up

from ..forking import Fork, preload, prepare

COMMAND = Path(sysconfig.get_paths()["scripts"]) / "codeling"
MARK = "CODELING_TEST_MARK"
SAME = ("corpus", "tokenizer", "tokens", "model", "provenance", "memory", "mixture")
"""Outputs that must equal those of an uninterrupted run, byte for byte."""


PRELOADED = (
    "codeling.cli.app", "codeling.evaluation.run_memory", "codeling.provenance.index",
    "codeling.report.run_report", "matplotlib.figure",
)  # fmt: skip
"""Imported once, for all forks."""


class Process(Protocol):
    """A started command."""

    pid: int

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...


Start = Callable[[list[str], Path, dict[str, str]], Process]
"""Starts a command with a log for its standard error and more environment variables."""


def new_process(command: list[str], log: Path, environment: dict[str, str]) -> Process:
    with log.open("wb") as stderr:
        return subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr,
            env={**os.environ, **environment}, start_new_session=True,
        )  # fmt: skip


def fork(command: list[str], log: Path, environment: dict[str, str]) -> Process:
    return Fork(run_command, command, environment, errors=log, new_session=True)


def run_command(command: list[str], environment: dict[str, str]) -> None:
    os.environ.update(environment)
    sys.argv = command
    main()


def measure_rate() -> None:
    matrix_rate(set_up("cpu", threads=1))


class Run:
    """One start of ``codeling run``; an environment variable marks its descendants."""

    def __init__(self, recipe: Path, folder: Path, start: Start) -> None:
        self.mark = uuid.uuid4().hex
        self.shared = shared_memory()
        self.before = stages(folder)
        self.folder = folder
        self.log = folder.with_suffix(".log")
        command = [str(COMMAND), "run", str(recipe), "--out", str(folder)]
        self.process = start(command, self.log, {MARK: self.mark})

    def wait_for(self, text: str) -> None:
        """Waits until the run prints ``text`` or ends."""
        deadline = time.monotonic() + 120
        while text not in self.log.read_text() and self.process.poll() is None:
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.005)

    def kill(self, number: signal.Signals) -> bool:
        """Sends the signal and checks the exit. Returns whether the run had already ended."""
        sent = time.monotonic()
        with suppress(ProcessLookupError):
            # Ctrl-C reaches every process of the terminal's group, the others one process
            (os.killpg if number == signal.SIGINT else os.kill)(self.process.pid, number)
        code = self.process.wait(30)
        assert time.monotonic() - sent < 30
        err = self.log.read_text()
        assert "Traceback" not in err, err
        assert "Exception ignored" not in err, err
        complaints = [line for line in err.splitlines() if line.startswith("codeling: ")]
        if code == 0:
            assert complaints == []
        elif number == signal.SIGKILL:
            assert (code, complaints) == (-signal.SIGKILL, [])
        else:
            assert code == 130, err
            assert len(complaints) == 1, err
            kept = bool(stages(self.folder)) or "step" in complaints[0]
            assert ("the same command" in complaints[0]) == kept, err
            assert err.endswith(complaints[0] + "\n")
        self.check_nothing_left()
        self.check_nothing_twice()
        return code == 0

    def finish(self) -> None:
        assert self.process.wait(300) == 0, self.log.read_text()
        self.check_nothing_left()
        self.check_nothing_twice()

    def check_nothing_left(self) -> None:
        """Checks that no process and no shared memory of this run remains."""
        deadline = time.monotonic() + 5
        while left := (self.processes(), sorted(shared_memory() - self.shared)):
            if left == ([], []):
                break
            assert time.monotonic() < deadline, left
            time.sleep(0.05)

    def processes(self) -> list[int]:
        """Processes of its session, and those whose environment contains its mark."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                session = int((folder / "stat").read_bytes().rpartition(b")")[2].split()[3])
                if (
                    session == self.process.pid
                    or self.mark.encode() in (folder / "environ").read_bytes()
                ):
                    found.append(int(folder.name))
        return found

    def check_nothing_twice(self) -> None:
        """Checks that the manifest keeps the stages finished before this start."""
        after = stages(self.folder)
        assert {name: after.get(name) for name in self.before} == self.before
        for name in self.before:
            titles = {
                "model": "model folder",
                "provenance": "provenance index",
                "memory": "corpus table",
                "mixture": "mixture of model and memory",
            }
            title = titles.get(name, name)
            assert f"{title} (again" not in self.log.read_text()


def stages(folder: Path) -> dict[str, Any]:
    manifest = folder / "manifest.json"
    return dict(json.loads(manifest.read_bytes())["stages"]) if manifest.exists() else {}


def shared_memory() -> set[str]:
    root = Path("/dev/shm")
    return {path.name for path in root.glob("cdl*")} if root.is_dir() else set()


def check_whole(folder: Path, reference: Path) -> None:
    """Checks that all stages are done, no partial file remains, the model loads and bytes match."""
    assert stages(folder).keys() == stages(reference).keys()
    assert list(folder.rglob("*.partial")) == []
    for part in SAME:
        ours, theirs = (
            {path.relative_to(f): path.read_bytes() for path in (f / part).rglob("*.*")}
            for f in (folder, reference)
        )
        if part == "model":  # the card states the training time
            ours.pop(Path("model/README.md"))
            theirs.pop(Path("model/README.md"))
        assert ours.keys() == theirs.keys()
        assert [name for name in ours if ours[name] != theirs[name]] == []
    steps = [
        values["step"]
        for values in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        if values["kind"] == "step"
    ]
    assert steps == list(range(1, len(steps) + 1))
    assert codeling.load(folder).complete("def f():\n", max_new_tokens=4).ids


MOMENTS = [
    ("reading Python", signal.SIGKILL),
    ("extracting functions", signal.SIGINT),
    ("reading text for the vocabulary", signal.SIGTERM),
    (": validation ", signal.SIGKILL),
    (": validation ", signal.SIGINT),
    ("model folder", signal.SIGTERM),
    ("parse rate", signal.SIGKILL),
]
"""Pairs of the text after which a run is killed, and the signal."""


def test_a_run_killed_at_every_stage_ends_complete(
    finished: Path, recipe_file: Path, tmp_path: Path
) -> None:
    preload(*PRELOADED)
    prepare(measure_rate)
    folder = tmp_path / "run"
    ended = False
    for text, number in MOMENTS:
        run = Run(recipe_file, folder, fork)
        run.wait_for(text)
        ended = run.kill(number)
    if not ended:
        run = Run(recipe_file, folder, fork)
        run.finish()
    assert (
        "continuing from step" in run.log.read_text()
        or "training: unchanged" in run.log.read_text()
    )
    check_whole(folder, finished)


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_a_run_killed_at_forty_random_moments_ends_complete(
    recipe_file: Path, tmp_path: Path
) -> None:
    """The corpus is large enough for worker processes. No signal is sent in the first 0.3 s, when
    only the interpreter is starting."""
    library = Path(sysconfig.get_paths()["stdlib"])
    names = ("asyncio", "ctypes", "email", "encodings", "http", "idlelib", "importlib", "json",
             "multiprocessing", "tkinter", "unittest", "xml")  # fmt: skip
    for name in names:
        shutil.copytree(library / name, tmp_path / name, dirs_exist_ok=True)
    text = recipe_file.read_text()
    tables = ", ".join(f'{{kind = "folder", path = "{tmp_path / name}"}}' for name in names)
    begin, end = text.index("sources = "), text.index("\nvalidation_share")
    recipe = tmp_path / "large.toml"
    recipe.write_text(text[:begin] + f"sources = [{tables}]" + text[end:])

    reference = tmp_path / "reference"
    began = time.monotonic()
    Run(recipe, reference, new_process).finish()
    seconds = time.monotonic() - began
    drawn = random.Random(0)
    folder, kills, whole = tmp_path / "run", 0, 0
    while kills < 40:
        run = Run(recipe, folder, new_process)
        with suppress(subprocess.TimeoutExpired):
            run.process.wait(drawn.uniform(0.3, seconds))
        number = drawn.choice([signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
        if run.process.poll() is None and not run.kill(number):
            kills += 1
            continue
        run.finish()
        check_whole(folder, reference)
        whole += 1
        shutil.rmtree(folder)
    Run(recipe, folder, new_process).finish()
    check_whole(folder, reference)
    assert whole
