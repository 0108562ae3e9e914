"""What trackers get equals ``metrics.jsonl``, and nothing that they do reaches the training."""

import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codeling.errors import UsageError
from codeling.progress import SILENT
from codeling.recipe import parse_recipe
from codeling.run import run
from codeling.training import metrics
from codeling.training.checkpoint import state
from codeling.training.data import TrainingData
from codeling.training.tracking import tracking
from codeling.training.tracking.trackers import TrackedRun, Tracker
from codeling.training.tracking.tracking import Tracking, identify_run, tracked_values

from ..runs import CONFIG, RECIPE, Notes, changed, digests, stop_at, train

pytestmark = pytest.mark.usefixtures("small_and_quick")


def expected(folder: Path) -> dict[str, dict[int, float]]:
    """Name of a value to step to value, from ``metrics.jsonl``."""
    found: dict[str, dict[int, float]] = {}
    for line in metrics.read(folder / "metrics.jsonl"):
        for name, value in tracked_values(line).items():
            found.setdefault(name, {})[line["step"]] = value
    return found


def read_tensorboard(folder: Path) -> dict[str, dict[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tracking" / "tensorboard"), {"scalars": 0})
    events.Reload()
    return {
        name: {event.step: event.value for event in events.Scalars(name)}
        for name in events.Tags()["scalars"]
    }


def assert_equal(read: dict[str, dict[int, float]], said: dict[str, dict[int, float]]) -> None:
    """One curve with every step of the log, in order; values to fp32."""
    assert read.keys() == said.keys()
    for name, values in said.items():
        assert list(read[name]) == list(values)
        rounded = [np.array([*each.values()], np.float32) for each in (read[name], values)]
        assert rounded[0].tolist() == rounded[1].tolist()


@pytest.mark.parametrize("is_lost", [False, True], ids=["written", "lost"])
def test_tensorboard_reads_what_metrics_say_also_after_a_kill(
    inputs: TrainingData, whole: Path, tmp_path: Path, is_lost: bool
) -> None:
    """``is_lost``: the killed process had not written its last values."""
    pytest.importorskip("tensorboard")
    recipe = changed(RECIPE, track=("tensorboard",), checkpoint_minutes=1e-9)
    stop_at(7, recipe, inputs, tmp_path)
    first_id = (tmp_path / "tracking" / "id").read_text()
    shutil.rmtree(state.checkpoints(tmp_path / "checkpoints")[-1])  # as if killed after step 6
    if is_lost:
        (events,) = (tmp_path / "tracking" / "tensorboard").iterdir()
        events.write_bytes(events.read_bytes()[: events.stat().st_size // 2])
    train(recipe, CONFIG, inputs, tmp_path)
    read, said = read_tensorboard(tmp_path), expected(tmp_path)
    assert {"train/loss", "validation/bits_per_byte"} <= set(read)
    assert_equal(read, said)
    assert (tmp_path / "tracking" / "id").read_text() == first_id
    ends = [state.checkpoints(folder / "checkpoints")[-1] for folder in (whole, tmp_path)]
    weights = [digests(end)["model.safetensors"] for end in ends]
    assert weights[0] == weights[1]
    shutil.rmtree(tmp_path / "checkpoints")
    train(recipe, CONFIG, inputs, tmp_path)  # from the start: another run for its trackers
    assert (tmp_path / "tracking" / "id").read_text() != first_id
    assert list(read_tensorboard(tmp_path)["train/loss"]) == list(said["train/loss"])


class Fake:
    """A tracker that may fail."""

    def __init__(self, fails_at: str = "") -> None:
        self.fails_at = fails_at
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.is_closed = False

    def open(self, run: TrackedRun) -> Tracker:
        if self.fails_at == "open":
            raise RuntimeError("no\nnetwork")
        return self

    def log(self, values: Mapping[str, float], step: int) -> None:
        if self.fails_at == "log":
            raise ConnectionError
        self.logged.append((step, dict(values)))

    def close(self) -> None:
        self.is_closed = True
        if self.fails_at == "close":
            raise SystemError("no space")


LINES: list[dict[str, Any]] = [
    {"kind": "data", "step": 0, "corpus_tokens": 3},
    {"kind": "step", "step": 1, "loss": None, "learning_rate": 0.5},
    {"kind": "step", "step": 2, "loss": float("nan"), "learning_rate": 1.0},
    {"kind": "validation", "step": 2, "bits_per_byte": 2.0},
]


def test_a_tracker_that_fails_is_noted_once_and_the_others_continue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fakes = {name: Fake(name) for name in ("open", "log", "close", "good")}

    def missing(run: TrackedRun) -> Tracker:
        raise ModuleNotFoundError("wandb")

    opens = {name: fake.open for name, fake in fakes.items()} | {"missing": missing}
    monkeypatch.setattr(tracking, "TRACKERS", opens)
    notes = Notes()
    tracked = Tracking(list(opens), identify_run(tmp_path, 0, {}), notes)
    for line in LINES:
        tracked.log(line)
    tracked.close()
    assert fakes["good"].is_closed
    assert fakes["good"].logged == [
        (1, {"train/learning_rate": 0.5}),
        (2, {"train/learning_rate": 1.0}),
        (2, {"validation/bits_per_byte": 2.0}),
    ]
    assert [line.partition(" ")[0] for line in notes.lines] == ["open", "missing", "log", "close"]
    assert "no network" in notes.lines[0]
    assert "pip install 'codeling[track]'" in notes.lines[1]
    assert all(line.count("\n") == 0 for line in notes.lines)


def test_a_tracker_that_hangs_holds_up_neither_the_training_nor_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    going_on = threading.Event()

    class Hanging(Fake):
        def log(self, values: Mapping[str, float], step: int) -> None:
            going_on.wait(30)

    monkeypatch.setattr(tracking, "TRACKERS", {"wandb": Hanging().open})
    monkeypatch.setattr(tracking, "_CLOSE_SECONDS", 0.05)
    notes = Notes()
    tracked = Tracking(["wandb"], identify_run(tmp_path, 0, {}), notes)
    for line in LINES * 100:
        tracked.log(line)
    tracked.close()
    going_on.set()
    assert "did not take the last values in time" in notes.lines[0]


def test_standard_output_stays_the_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Loud(Fake):
        def open(self, run: TrackedRun) -> Tracker:
            print("opened")  # noqa: T201
            return self

        def close(self) -> None:
            print("closed")  # noqa: T201

    monkeypatch.setattr(tracking, "TRACKERS", {"trackio": Loud().open})
    Tracking(["trackio"], identify_run(tmp_path, 0, {}), SILENT).close()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.split() == ["opened", "closed"]


def test_a_missing_library_is_reported_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codeling.training.tracking.trackers.find_spec", lambda name: None)
    recipe = parse_recipe("", ['training.track=["wandb"]'])
    message = r"\[training\] track: wandb is not installed; pip install 'codeling\[track\]'"
    with pytest.raises(UsageError, match=message):
        run(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()
