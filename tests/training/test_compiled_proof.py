"""Training as on an accelerator, compiled and with sequences packed by a second process, gives the
same losses as without, and resumes. A slow proof, run by ``make proof``.
"""

from functools import partial
from pathlib import Path

import pytest

from codeling.training import trainer
from codeling.training.data import TrainingData
from codeling.training.prefetcher import Prefetcher

from .runs import CONFIG, RECIPE, assert_ended_the_same, changed, losses, stop_at, train

pytestmark = [
    pytest.mark.proof,
    pytest.mark.timeout(600),
    pytest.mark.usefixtures("small_and_quick"),
    pytest.mark.filterwarnings("ignore"),  # of the compiler, of itself
]


def test_compiled_and_packed_ahead(
    inputs: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._dynamo.utils import counters  # takes as long to import as torch

    train(changed(RECIPE, compile="off"), CONFIG, inputs, tmp_path / "plain")
    in_another = partial(Prefetcher, in_process=False)
    monkeypatch.setattr(trainer, "Prefetcher", lambda *given, in_process: in_another(*given))
    recipe = changed(RECIPE, compile="on")
    train(recipe, CONFIG, inputs, tmp_path / "whole")
    graphs = counters["stats"]["unique_graphs"]
    stop_at(5, recipe, inputs, tmp_path / "stopped")
    train(recipe, CONFIG, inputs, tmp_path / "stopped")
    assert_ended_the_same(tmp_path / "stopped", tmp_path / "whole")
    assert losses(tmp_path / "whole") == pytest.approx(losses(tmp_path / "plain"), abs=1e-4)
    # A block and a loss, for passes of three rows and of one; validation and samples add none.
    assert 0 < graphs <= 5
    assert counters["stats"]["unique_graphs"] <= 2 * graphs
