"""A training that is killed and goes on, read back by trackio and from wandb's own files.

Both need the extra ``[track]``. wandb is offline: it needs no account, and asks no server.
"""

import json
import os
import shutil
import signal
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from codeling.training import metrics
from codeling.training.checkpoint import state
from codeling.training.data import TrainingData

from ..runs import CONFIG, RECIPE, Notes, changed, digests, train
from .test_tracking import assert_equal, expected

pytestmark = [pytest.mark.proof, pytest.mark.usefixtures("small_and_quick")]
Curves = dict[str, dict[int, float]]


def read_trackio(folder: Path) -> Curves:
    from trackio.sqlite_storage import SQLiteStorage

    run_id = (folder / "tracking" / "id").read_text().strip()
    found: Curves = {}
    for row in SQLiteStorage.get_logs("codeling", f"{folder.resolve().name}-{run_id}"):
        for name, value in row.items():
            if "/" in name:
                curve = found.setdefault(name, {})
                assert curve.setdefault(row["step"], value) == value
    return found


def read_wandb(folder: Path) -> Curves:
    """The newest file: offline, each start of a run writes one of its own."""
    from wandb.proto.wandb_internal_pb2 import Record

    run_id = (folder / "tracking" / "id").read_text().strip()
    files = sorted((folder / "tracking" / "wandb").glob(f"offline-run-*-{run_id}/*.wandb"))
    assert len(files) == 2
    found: Curves = {}
    for data in records(files[-1].read_bytes()):
        record = Record.FromString(data)
        values = {
            item.key or "/".join(item.nested_key): json.loads(item.value_json)
            for item in record.history.item
        }
        for name, value in values.items():
            if "/" in name:
                found.setdefault(name, {})[values["_step"]] = value
    return found


def records(data: bytes) -> Iterator[bytes]:
    """The records of a file in LevelDB's log format, behind wandb's header of 7 bytes."""
    assert data.startswith(b":W&B")
    at, whole = 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, size, kind = struct.unpack_from("<IHB", data, at)
        if kind == 0:
            return
        whole += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # full, or the last part
            yield whole
            whole = b""


@pytest.fixture(autouse=True)
def own_service() -> Iterator[None]:
    """Ends wandb's service, which processes that are forked later would share."""
    yield
    if wandb := sys.modules.get("wandb"):
        wandb.teardown()


def train_until_killed(step: int, inputs: TrainingData, folder: Path, name: str) -> None:
    """Train in another process, which is killed in the step after ``step``."""
    recipe = changed(RECIPE, track=(name,), checkpoint_minutes=1e-9)
    child = os.fork()
    if child == 0:

        def should_stop() -> bool:
            lines = list(metrics.read(folder / "metrics.jsonl"))
            if lines and lines[-1]["step"] >= step:
                os.kill(os.getpid(), signal.SIGKILL)
            return False

        train(recipe, CONFIG, inputs, folder, should_stop=should_stop)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize(
    "name, read", [("trackio", read_trackio), ("wandb", read_wandb)], ids=["trackio", "wandb"]
)
@pytest.mark.parametrize("is_behind", [False, True], ids=["killed", "and without a checkpoint"])
def test_a_killed_training_is_one_curve_in_the_trackers_own_files(
    name: str, read: object, is_behind: bool, inputs: TrainingData, whole: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """``is_behind``: the newest checkpoint is of an earlier step than the tracker's."""
    pytest.importorskip(name)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    train_until_killed(7, inputs, tmp_path, name)
    if is_behind:
        shutil.rmtree(state.checkpoints(tmp_path / "checkpoints")[-1])
    notes = Notes()
    recipe = changed(RECIPE, track=(name,), checkpoint_minutes=1e-9)
    train(recipe, CONFIG, inputs, tmp_path, progress=notes)
    assert not [line for line in notes.lines if "does not track" in line]
    found = read(tmp_path)  # type: ignore[operator]
    assert {"train/loss", "validation/bits_per_byte"} <= set(found)
    assert_equal(found, expected(tmp_path))
    ends = [state.checkpoints(folder / "checkpoints")[-1] for folder in (whole, tmp_path)]
    assert digests(ends[0]) == digests(ends[1])
