import errno
import hashlib
import json
import math
import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from codeling.dataset import loader
from codeling.dataset.tokens import write_tokens
from codeling.errors import CorpusError, StorageError, TrainingError
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2
from codeling.progress import SILENT, Advance, Progress
from codeling.recipe import TrainingRecipe
from codeling.tokenizer.tokenizer import Tokenizer
from codeling.training import guard, metrics, planning, state, trainer
from codeling.training.trainer import Inputs, StoppedError, identify, train

CONTEXT, STEPS = 48, 12
CONFIG = GPT2Config(512, CONTEXT, 1, 2, 16)
RECIPE = TrainingRecipe(
    steps=STEPS,
    tokens_per_step=4 * CONTEXT,
    micro_batch_size=3,  # three rows, then one
    adamw_lr=0.01,
    muon_lr=0.02,
    validation_tokens=2 * CONTEXT,
    validation_interval=0.25,
    sample_interval=1.0,
    threads=1,
    device="cpu",
    precision="fp32",
    seed=3,
)
CLOCKS = {"seconds", "tokens_per_second", "mfu"}


@pytest.fixture(autouse=True)
def small_and_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "WINDOW_ROWS", 11)
    monkeypatch.setattr(planning, "matrix_rate", lambda machine: 1e12)


@pytest.fixture(scope="module")
def inputs(
    tokenizer: Tokenizer, python_files: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Inputs:
    folder = tmp_path_factory.mktemp("tokens")
    train_split = write_tokens(python_files[:4], tokenizer, folder / "train.bin")
    validation = write_tokens(python_files[4:5], tokenizer, folder / "validation.bin")
    return Inputs(tokenizer, train_split, validation)


class Notes(Progress):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def task(
        self, label: str, total: int | None = None, unit: str = "items"
    ) -> AbstractContextManager[Advance]:
        return SILENT.task(label, total, unit)

    def note(self, line: str) -> None:
        self.lines.append(line)


def logged(folder: Path) -> int:
    """Steps that stand in the log."""
    return sum(line["kind"] == "step" for line in metrics.read(folder / "metrics.jsonl"))


def after(steps: int, folder: Path) -> Callable[[], bool]:
    """Says stop once ``steps`` more are done, whenever it is asked."""
    before = logged(folder)
    return lambda: logged(folder) >= before + steps


def stop_at(
    steps: int, recipe: TrainingRecipe, inputs: Inputs, folder: Path, **options: Any
) -> Path:
    """Train until ``steps`` more are done; the checkpoint that was left."""
    with pytest.raises(StoppedError, match="the same command goes on from here"):
        train(recipe, CONFIG, inputs, folder, should_stop=after(steps, folder), **options)
    return state.checkpoints(folder / "checkpoints")[-1]


def digests(checkpoint: Path) -> dict[str, str]:
    names = (state.MODEL_FILE, state.OPTIMIZER_FILE)
    return {name: hashlib.sha256((checkpoint / name).read_bytes()).hexdigest() for name in names}


def log(folder: Path) -> list[dict[str, Any]]:
    """All that was logged, but what a clock says."""
    lines = [*metrics.read(folder / "metrics.jsonl"), *metrics.read(folder / "samples.jsonl")]
    return [{k: v for k, v in line.items() if k not in CLOCKS} for line in lines]


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in log(folder) if line.get("kind") == "step"]


def changed(recipe: TrainingRecipe, **values: Any) -> TrainingRecipe:
    return TrainingRecipe.model_validate(recipe.model_dump() | values)


@pytest.fixture(scope="module")
def whole(inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was not stopped."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loader, "WINDOW_ROWS", 11)
        patch.setattr(planning, "matrix_rate", lambda machine: 1e12)
        train(RECIPE, CONFIG, inputs, folder)
    return folder


def last(folder: Path) -> Path:
    return folder / "checkpoints" / state.folder_name(STEPS)


def assert_ended_the_same(folder: Path, whole: Path) -> None:
    assert digests(last(folder)) == digests(last(whole))
    assert log(folder) == log(whole)


@pytest.mark.parametrize("stops", [[1], [7], [STEPS - 1], [2, 1, 3, 1], [1] * (STEPS - 1)], ids=str)
def test_stopped_and_resumed_ends_in_the_same_bits(
    inputs: Inputs, whole: Path, tmp_path: Path, stops: list[int]
) -> None:
    for steps in stops:
        random.seed(steps)
        torch.manual_seed(steps)  # nothing depends on what ran before
        stop_at(steps, RECIPE, inputs, tmp_path)
    result = train(RECIPE, CONFIG, inputs, tmp_path)
    assert result.checkpoint == last(tmp_path)
    assert_ended_the_same(tmp_path, whole)


@pytest.mark.parametrize(
    "values",
    [
        {"infilling_rate": 0.0, "micro_batch_size": 4},
        {"infilling_rate": 1.0, "micro_batch_size": 1},
        {"precision": "bf16", "seed": 2**40},
        {"z_loss": 1e-3, "key_words": ("def", "import os"), "average_tail": 0.5},
        {
            "isolate_documents": True,
            "activation_checkpointing": True,
            "packing": "best_fit",
            "infilling_rate": 0.0,
        },
    ],
    ids=str,
)
def test_with_other_settings_too(inputs: Inputs, tmp_path: Path, values: dict[str, Any]) -> None:
    recipe = changed(RECIPE, **values)
    train(recipe, CONFIG, inputs, tmp_path / "whole")
    stop_at(5, recipe, inputs, tmp_path / "stopped")
    train(recipe, CONFIG, inputs, tmp_path / "stopped")
    assert_ended_the_same(tmp_path / "stopped", tmp_path / "whole")


def test_the_log_has_a_line_a_step_and_the_measures_between(inputs: Inputs, whole: Path) -> None:
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
    inputs: Inputs, tmp_path: Path
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
    recipe = changed(RECIPE, steps=100, micro_batch_size=4, infilling_rate=0.0)
    result = train(recipe, CONFIG, Inputs(tokenizer, tokens, tokens), tmp_path / "run")
    found = losses(tmp_path / "run")
    assert found[-1] < 0.2 * found[0]
    # Beyond chance: fewer bits than a byte has.
    assert result.bits_per_byte < 1.5
    assert (result.num_steps, result.num_tokens) == (100, 100 * 192)


# A loss that is no number.


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
def test_a_step_without_a_number_leaves_the_weights_and_the_run_goes_on(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: str
) -> None:
    before = digests(stop_at(4, AT_ONCE, inputs, tmp_path / "before"))
    damaging(monkeypatch, {5}, SPOILS[spoil])
    notes = Notes()
    checkpoint = stop_at(5, AT_ONCE, inputs, tmp_path / "run", progress=notes)
    assert digests(checkpoint) == before
    assert any("step 5" in line and "left out" in line for line in notes.lines)
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


def test_three_such_steps_in_a_row_are_an_error_with_advice(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaging(monkeypatch, {3, 4, 6, 7, 8}, SPOILS["nan"])
    with pytest.raises(TrainingError) as caught:
        train(AT_ONCE, CONFIG, inputs, tmp_path)
    assert not isinstance(caught.value, StoppedError)
    assert "3 steps in a row (at step 8)" in str(caught.value)
    assert "training.muon_lr" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(losses(tmp_path)) == 7
    newest, complaints = state.newest_whole(tmp_path / "checkpoints")
    assert newest is not None
    assert complaints == []


def test_a_bad_step_before_a_stop_counts_after_it(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaging(monkeypatch, {3, 4, 5}, SPOILS["nan"])
    stop_at(4, AT_ONCE, inputs, tmp_path)
    with pytest.raises(TrainingError, match="at step 5"):
        train(AT_ONCE, CONFIG, inputs, tmp_path)


def test_a_spike_is_left_out_where_that_is_asked_for(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "ENOUGH", 6)
    recipe = changed(AT_ONCE, spike_sigma=6.0)
    before = digests(stop_at(8, recipe, inputs, tmp_path / "run"))
    damaging(monkeypatch, {1}, lambda model, loss: loss * 100)
    notes = Notes()
    assert digests(stop_at(1, recipe, inputs, tmp_path / "run", progress=notes)) == before
    assert any("step 9" in line and "spike" in line for line in notes.lines)
    assert max(losses(tmp_path / "run")) > 100  # is in the log all the same
    train(recipe, CONFIG, inputs, tmp_path / "run")
    # What was seen is part of the state: the same as without the stop.
    damaging(monkeypatch, {9}, lambda model, loss: loss * 100)
    train(recipe, CONFIG, inputs, tmp_path / "whole")
    assert_ended_the_same(tmp_path / "run", tmp_path / "whole")


# Stopped and full disks.


def test_a_stop_between_two_passes_leaves_the_step_for_later(
    inputs: Inputs, whole: Path, tmp_path: Path
) -> None:
    asked = 0

    def should_stop() -> bool:  # asked between the passes of a step, and after it
        nonlocal asked
        asked += 1
        return asked == 7

    with pytest.raises(StoppedError, match="stopped at step 3"):
        train(RECIPE, CONFIG, inputs, tmp_path, should_stop=should_stop)
    assert logged(tmp_path) == 3
    train(RECIPE, CONFIG, inputs, tmp_path)
    assert_ended_the_same(tmp_path, whole)


@pytest.mark.parametrize("step", [3, STEPS])
def test_a_stop_while_it_is_validated_is_no_loss(
    inputs: Inputs, whole: Path, tmp_path: Path, step: int
) -> None:
    stop_at(step, RECIPE, inputs, tmp_path)
    measured = [line["step"] for line in log(tmp_path) if line.get("kind") == "validation"]
    assert measured == [3, 6, 9, 12][: (step - 1) // 3]  # not the one at the stop
    result = train(RECIPE, CONFIG, inputs, tmp_path)
    assert math.isfinite(result.bits_per_byte)
    assert_ended_the_same(tmp_path, whole)


def test_those_to_be_kept_are_made_and_kept(inputs: Inputs, whole: Path, tmp_path: Path) -> None:
    train(changed(RECIPE, keep_every=5), CONFIG, inputs, tmp_path)
    found = [path.name for path in state.checkpoints(tmp_path / "checkpoints")]
    assert found == [state.folder_name(step) for step in (0, 5, 10, 12)]
    assert_ended_the_same(tmp_path, whole)


def test_a_disk_that_is_full_at_a_checkpoint_costs_what_came_after_the_last(
    inputs: Inputs, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = changed(RECIPE, checkpoint_minutes=1e-9)
    with monkeypatch.context() as patch:
        calls = iter(range(100))
        original = safetensors.torch.save_file

        def save_file(*arguments: Any) -> None:
            if next(calls) >= 13:  # the optimizer's file after six steps
                raise OSError(errno.ENOSPC, "No space left on device")
            original(*arguments)

        patch.setattr("safetensors.torch.save_file", save_file)
        with pytest.raises(StorageError, match="no space left on the disk; free some") as caught:
            train(recipe, CONFIG, inputs, tmp_path)
    assert "\n" not in str(caught.value)
    newest, complaints = state.newest_whole(tmp_path / "checkpoints")
    assert (newest, complaints) == (tmp_path / "checkpoints" / state.folder_name(5), [])
    train(recipe, CONFIG, inputs, tmp_path)
    assert_ended_the_same(tmp_path, whole)


# The plan.


@pytest.fixture
def slow_clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that moves by a tenth of a second at each look, in training alone."""
    now = [0.0]

    def look() -> float:
        now[0] += 0.1
        return now[0]

    for module in (planning, trainer):
        monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=look))
    return now


def minutes(value: float) -> TrainingRecipe:
    return changed(RECIPE, steps=None, minutes=value, checkpoint_minutes=100.0)


def test_a_plan_from_minutes_is_kept_and_what_it_cost_leaves_no_trace(
    inputs: Inputs, tmp_path: Path, slow_clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = stop_at(2, minutes(0.1), inputs, tmp_path / "run")
    plan = state.load(checkpoint).plan
    assert 20 <= plan.num_steps <= 45  # six seconds of steps that take a tenth
    monkeypatch.setattr(planning, "matrix_rate", lambda machine: 1 / 0)
    slow_clock[0] = 1000.0
    assert train(minutes(0.1), CONFIG, inputs, tmp_path / "run").num_steps == plan.num_steps
    ended = state.checkpoints(tmp_path / "run" / "checkpoints")[-1]
    assert state.load(ended).plan == plan
    # The steps that were measured are forgotten: the same as a run of so many steps.
    monkeypatch.setattr(planning, "matrix_rate", lambda machine: plan.matrix_flops)
    recipe = changed(RECIPE, steps=plan.num_steps)
    result = train(recipe, CONFIG, inputs, tmp_path / "steps")
    assert digests(result.checkpoint) == digests(ended)
    assert losses(tmp_path / "steps") == losses(tmp_path / "run")


def test_more_minutes_are_more_steps(
    inputs: Inputs, tmp_path: Path, slow_clock: list[float]
) -> None:
    planned = []
    for value in (0.05, 0.5):
        checkpoint = stop_at(1, minutes(value), inputs, tmp_path / str(value))
        planned.append(state.load(checkpoint).plan.num_steps)
    assert planned[1] > 8 * planned[0]


def test_a_length_in_tokens_is_rounded_down_to_steps(inputs: Inputs, tmp_path: Path) -> None:
    recipe = changed(RECIPE, steps=None, tokens=2 * 192 + 191)
    result = train(recipe, CONFIG, inputs, tmp_path)
    assert (result.num_steps, result.num_tokens) == (2, 384)


# Which checkpoint is gone on from.


def test_checkpoints_of_another_run_are_not_gone_on_from(
    inputs: Inputs, whole: Path, tmp_path: Path
) -> None:
    stop_at(5, changed(RECIPE, seed=4), inputs, tmp_path, identity="other")
    notes = Notes()
    train(RECIPE, CONFIG, inputs, tmp_path, progress=notes)
    assert any("belong to other settings; training anew" in line for line in notes.lines)
    assert_ended_the_same(tmp_path, whole)


@pytest.mark.parametrize("num_damaged", [1, 2, 3])
def test_a_damaged_checkpoint_costs_time_and_nothing_else(
    inputs: Inputs, whole: Path, tmp_path: Path, num_damaged: int
) -> None:
    recipe = changed(RECIPE, checkpoint_minutes=1e-9, keep_last=3)
    stop_at(8, recipe, inputs, tmp_path)
    found = state.checkpoints(tmp_path / "checkpoints")
    assert [path.name for path in found] == [state.folder_name(step) for step in (6, 7, 8)]
    for path in found[3 - num_damaged :]:
        (path / state.MODEL_FILE).write_bytes((path / state.MODEL_FILE).read_bytes()[:-1])
    notes = Notes()
    train(recipe, CONFIG, inputs, tmp_path, progress=notes)
    assert sum("is damaged" in line for line in notes.lines) == num_damaged
    going_on = [line for line in notes.lines if line.startswith("going on from step")]
    assert going_on == ([f"going on from step {8 - num_damaged} of 12"] if num_damaged < 3 else [])
    assert_ended_the_same(tmp_path, whole)


def test_a_finished_run_is_not_done_again(inputs: Inputs, whole: Path, tmp_path: Path) -> None:
    train(RECIPE, CONFIG, inputs, tmp_path)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "checkpoints").rglob("*")}
    result = train(RECIPE, CONFIG, inputs, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert set((tmp_path / "checkpoints").rglob("*")) == set(files)
    assert result.checkpoint == last(tmp_path)
    measured = [line for line in log(whole) if line.get("kind") == "validation"]
    assert result.bits_per_byte == measured[-1]["bits_per_byte"]
    assert_ended_the_same(tmp_path, whole)


def test_lines_logged_after_the_checkpoint_are_said_once(
    inputs: Inputs, whole: Path, tmp_path: Path
) -> None:
    # A killed process leaves lines of steps that are done again, the last of them torn.
    stop_at(4, RECIPE, inputs, tmp_path)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "step", "step": 5, "loss": 1.0}\n{"kind": "step", "st')
    train(RECIPE, CONFIG, inputs, tmp_path)
    assert_ended_the_same(tmp_path, whole)


def test_identity_is_what_decides_a_step() -> None:
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
    tokenizer: Tokenizer, inputs: Inputs, tmp_path: Path, empty: str
) -> None:
    nothing = write_tokens([], tokenizer, tmp_path / "nothing.bin")
    splits = {"train": inputs.train, "validation": inputs.validation} | {empty: nothing}
    without = Inputs(tokenizer, splits["train"], splits["validation"])
    with pytest.raises(CorpusError, match="empty"):
        train(RECIPE, CONFIG, without, tmp_path / "run")
