"""Several processes of ``codeling train`` under ``torchrun``: all train, one prints."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from codeling.training import metrics
from codeling.training.checkpoint import state

pytestmark = [pytest.mark.proof, pytest.mark.timeout(900)]


def test_two_processes_make_one_run(recipe_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        "-m", "codeling", "train", str(recipe_file), "--out", str(folder), "--json",
    ]  # fmt: skip
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo"}
    for again in (False, True):
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, done.stderr
        (line,) = done.stdout.splitlines()  # the other process prints nothing
        stages = json.loads(line)["stages"]
        assert list(stages)[-1] == "model"
        assert all(stage["done"] is not again for stage in stages.values())
    steps = [line for line in metrics.read(folder / "metrics.jsonl") if line["kind"] == "step"]
    newest, complaints = state.newest_intact(folder / "checkpoints")
    assert newest is not None
    assert complaints == []
    assert [line["step"] for line in steps] == list(range(1, state.load(newest).step + 1))
    assert (folder / "model" / "model.safetensors").exists()
