"""wandb and trackio: what they are asked for, and what they read back where they are installed."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from codeling.training.tracking.trackers import TrackedRun, TrackioTracker, WandbTracker


class FakeRun:
    """A run of wandb or trackio that has the steps before ``step``."""

    def __init__(self, step: int) -> None:
        self.step = self._next_step = step
        self.logged: list[int] = []

    def log(self, values: dict[str, float], step: int) -> None:
        self.logged.append(step)

    def finish(self) -> None:
        pass


def run_at(step: int, folder: Path) -> TrackedRun:
    return TrackedRun(folder, "demo", "0123abcd", step, {"steps": 12})


def log_from(tracker: Any, first: int, last: int) -> None:
    for step in range(first, last + 1):
        tracker.log({"train/loss": 1 / step}, step)
    tracker.close()


@pytest.mark.parametrize(
    "kind, module", [(WandbTracker, "wandb"), (TrackioTracker, "trackio")], ids=["wandb", "trackio"]
)
@pytest.mark.parametrize("key", [None, "a key"])
def test_a_resumed_run_continues_the_same_curve(
    kind: Any, module: str, key: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    given: dict[str, Any] = {}
    fake = FakeRun(8)  # it has the steps 1 to 7

    def init(**options: Any) -> FakeRun:
        given.update(options)
        return fake

    library = SimpleNamespace(
        init=init, api=SimpleNamespace(api_key=key), Settings=lambda **settings: settings
    )
    monkeypatch.setitem(sys.modules, module, library)
    log_from(kind(run_at(5, tmp_path)), 6, 9)
    assert fake.logged == [8, 9]
    assert given["project"] == "codeling"
    assert given["resume"] == "allow"
    assert given["config"] == {"steps": 12}
    assert "0123abcd" in (given.get("id"), *given["name"].split("-"))
    if module == "wandb":
        assert given["mode"] == (None if key else "offline")
        assert given["settings"]["console"] == "off"


@pytest.mark.proof
def test_trackio_itself_reads_back_one_curve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio")
    from trackio.sqlite_storage import SQLiteStorage

    log_from(TrackioTracker(run_at(0, tmp_path)), 1, 7)
    log_from(TrackioTracker(run_at(5, tmp_path)), 6, 12)
    rows = SQLiteStorage.get_logs("codeling", "demo-0123abcd")
    assert [(row["step"], row["train/loss"]) for row in rows] == [(n, 1 / n) for n in range(1, 13)]


@pytest.mark.proof
def test_wandb_itself_writes_offline_without_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    log_from(WandbTracker(run_at(0, tmp_path)), 1, 3)
    (written,) = (tmp_path / "wandb").glob("offline-run-*-0123abcd/run-0123abcd.wandb")
    assert written.stat().st_size > 0
