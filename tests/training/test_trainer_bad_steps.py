"""Losses and gradients that are not finite, or far off: skipped, and in the end an error."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor

from codeling.errors import StoppedError, TrainingError
from codeling.model.gpt2 import GPT2
from codeling.training.checkpoint import state
from codeling.training.data import TrainingData

from .runs import CONFIG, RECIPE, Notes, changed, digests, losses, stop_at, train

pytestmark = pytest.mark.usefixtures("small_and_quick")


def damaging(
    monkeypatch: pytest.MonkeyPatch, calls: set[int], spoil: Callable[[GPT2, Tensor], Tensor]
) -> None:
    """Spoil the loss of some calls; RECIPE with all rows at once calls it once a step."""
    original, counter = GPT2.loss, iter(range(1, 10**6))

    def loss(self: GPT2, input_ids: Tensor, target_ids: Tensor) -> Tensor:
        value = original(self, input_ids, target_ids)
        return spoil(self, value) if next(counter) in calls else value

    monkeypatch.setattr(GPT2, "loss", loss)


AT_ONCE = changed(RECIPE, micro_batch_size=4)


SPOILS: dict[str, Callable[[GPT2, Tensor], Tensor]] = {
    "nan": lambda model, loss: loss * math.nan,
    "inf": lambda model, loss: loss * math.inf,
    "gradient": lambda model, loss: loss + (model.ln_f.bias.sum() * 0).sqrt(),
}


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_step_with_nan_or_infinity_is_skipped_and_the_run_continues(
    inputs: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: str
) -> None:
    before = digests(stop_at(4, AT_ONCE, inputs, tmp_path / "before"))
    damaging(monkeypatch, {5}, SPOILS[spoil])
    notes = Notes()
    checkpoint = stop_at(5, AT_ONCE, inputs, tmp_path / "run", progress=notes)
    assert digests(checkpoint) == before
    assert any("step 5" in line and "skipped" in line for line in notes.lines)
    train(AT_ONCE, CONFIG, inputs, tmp_path / "run")
    text = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    (step,) = [
        line for line in map(json.loads, text.splitlines())
        if (line["kind"], line["step"]) == ("step", 5)
    ]  # fmt: skip
    assert step["gradient_norm"] is None
    assert (step["loss"] is None) == (spoil != "gradient")
    found = [loss for loss in losses(tmp_path / "run") if loss is not None]
    assert found[-1] < found[0]


def test_three_consecutive_skipped_steps_are_an_error_with_advice(
    inputs: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaging(monkeypatch, {3, 4, 6, 7, 8}, SPOILS["nan"])
    with pytest.raises(TrainingError) as caught:
        train(AT_ONCE, CONFIG, inputs, tmp_path)
    assert not isinstance(caught.value, StoppedError)
    assert "3 consecutive steps (at step 8)" in str(caught.value)
    assert "training.muon_lr" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(losses(tmp_path)) == 7
    newest, complaints = state.newest_intact(tmp_path / "checkpoints")
    assert newest is not None
    assert complaints == []


def test_a_bad_step_before_a_stop_counts_after_it(
    inputs: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaging(monkeypatch, {3, 4, 5}, SPOILS["nan"])
    stop_at(4, AT_ONCE, inputs, tmp_path)
    with pytest.raises(TrainingError, match="at step 5"):
        train(AT_ONCE, CONFIG, inputs, tmp_path)
