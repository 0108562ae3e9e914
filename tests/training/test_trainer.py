"""A run from its first step to its last: what it logs, that it learns, and what it depends on."""

import math
from pathlib import Path

import pytest

from codeling.dataset.tokens import write_tokens
from codeling.errors import CorpusError
from codeling.model.config import GPT2Config
from codeling.tokenizer.tokenizer import Tokenizer
from codeling.training import machine, metrics
from codeling.training.data import TrainingData
from codeling.training.trainer import identify

from .runs import CONFIG, CONTEXT, RECIPE, STEPS, Notes, changed, log, losses, train

pytestmark = pytest.mark.usefixtures("small_and_quick")


def test_the_log_has_a_line_per_step_and_the_measurements_between(
    inputs: TrainingData, whole: Path
) -> None:
    lines = [line for line in log(whole) if "kind" in line]
    steps = [line for line in lines if line["kind"] == "step"]
    assert [line["step"] for line in steps] == list(range(1, STEPS + 1))
    assert [line["tokens"] for line in steps] == [192 * step for step in range(1, STEPS + 1)]
    assert steps[0]["loss"] == pytest.approx(math.log(512), abs=0.1)
    measured = [line for line in lines if line["kind"] == "validation"]
    assert [line["step"] for line in measured] == [3, 6, 9, 12]
    (sample,) = metrics.read(whole / "samples.jsonl")
    assert sample["step"] == STEPS


def test_a_step_is_an_update_however_many_micro_batches_it_takes(
    inputs: TrainingData, tmp_path: Path
) -> None:
    # Stepped once per micro-batch, as elsewhere, the rate would end far from zero or be used up
    # after a quarter of the run. And the sum of the micro-batches is the step.
    ends = {}
    for size in (1, 3, 4):
        recipe = changed(RECIPE, micro_batch_size=size, steps=5)
        train(recipe, CONFIG, inputs, tmp_path / str(size))
        lines = [line for line in log(tmp_path / str(size)) if line.get("kind") == "step"]
        ends[size] = lines
        assert lines[-1]["learning_rate"] == pytest.approx(1 / 4)
    for size in (1, 3):
        for one, other in zip(ends[size], ends[4], strict=True):
            assert one["learning_rate"] == other["learning_rate"]
            assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)
            assert one["gradient_norm"] == pytest.approx(other["gradient_norm"], rel=1e-3)
    assert ends[1][0]["gradient_norm"] == pytest.approx(ends[4][0]["gradient_norm"], rel=1e-5)


def test_the_rate_of_a_run_ends_near_zero(whole: Path) -> None:
    rates = [line["learning_rate"] for line in log(whole) if line.get("kind") == "step"]
    assert max(rates) == 1.0
    assert rates[-1] == pytest.approx(1 / (STEPS - 1))


def test_it_learns(tokenizer: Tokenizer, tmp_path: Path) -> None:
    text = "for x in range(10):\n    print(x)\n" * 40
    tokens = write_tokens([text] * 3, tokenizer, tmp_path / "train.bin")
    recipe = changed(RECIPE, steps=100, micro_batch_size=4, fim_rate=0.0)
    result = train(recipe, CONFIG, TrainingData(tokenizer, tokens, tokens), tmp_path / "run")
    found = losses(tmp_path / "run")
    assert found[-1] < 0.2 * found[0]
    # Beyond chance: fewer bits than a byte has.
    assert result.bits_per_byte < 1.5
    assert (result.num_steps, result.num_tokens) == (100, 100 * 192)


def test_identity_covers_everything_that_decides_a_step() -> None:
    made_from = {"tokens": "a"}
    first = identify(RECIPE, CONFIG, made_from)
    assert (
        identify(changed(RECIPE, keep_last=9, checkpoint_minutes=7.0), CONFIG, made_from) == first
    )
    others = [
        identify(changed(RECIPE, muon_lr=0.03), CONFIG, made_from),
        identify(changed(RECIPE, seed=4), CONFIG, made_from),
        identify(changed(RECIPE, steps=13), CONFIG, made_from),
        identify(RECIPE, GPT2Config(512, CONTEXT, 2, 2, 16), made_from),
        identify(RECIPE, CONFIG, {"tokens": "b"}),
    ]
    assert len({first, *others}) == 6


@pytest.mark.parametrize("empty", ["train", "validation"])
def test_an_empty_split_is_an_empty_corpus(
    tokenizer: Tokenizer, inputs: TrainingData, tmp_path: Path, empty: str
) -> None:
    nothing = write_tokens([], tokenizer, tmp_path / "nothing.bin")
    splits = {"train": inputs.train, "validation": inputs.validation} | {empty: nothing}
    without = TrainingData(tokenizer, splits["train"], splits["validation"])
    with pytest.raises(CorpusError, match="empty"):
        train(RECIPE, CONFIG, without, tmp_path / "run")


@pytest.mark.parametrize("features, noted", [("avx2", True), ("avx2 avx512_bf16", False)])
def test_an_emulated_precision_is_noted(
    inputs: TrainingData,
    tmp_path: Path,
    features: str,
    noted: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "processor_features", lambda: frozenset(features.split()))
    for precision, said in (("bf16", noted), ("fp32", False)):
        notes = Notes()
        recipe = changed(RECIPE, precision=precision, steps=1)
        train(recipe, CONFIG, inputs, tmp_path / precision, progress=notes)
        assert any("bf16 is emulated" in line for line in notes.lines) is said
