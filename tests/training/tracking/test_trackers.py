"""wandb and trackio: what they are asked for. test_tracking_proof.py has what they read back."""

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
    log_from(kind(run_at(5, tmp_path)), 1, 9)
    assert fake.logged == ([8, 9] if module == "wandb" else [7, 8, 9])
    assert given["project"] == "codeling"
    assert given["resume"] == "allow"
    assert given["config"] == {"steps": 12}
    assert "0123abcd" in (given.get("id"), *given["name"].split("-"))
    if module == "wandb":
        assert given["mode"] == (None if key else "offline")
        assert given["settings"]["console"] == "off"
