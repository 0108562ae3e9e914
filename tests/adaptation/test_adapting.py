import json
import shutil
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

import codeling
from codeling.adaptation import adapting, gains
from codeling.adaptation.adapting import adapt
from codeling.dataset import loader
from codeling.errors import StoppedError, UsageError
from codeling.export.inspection import as_text, inspect_model
from codeling.manifest import sha256_file
from codeling.progress import Advance
from codeling.recipe import Recipe
from codeling.run import StopRequest
from codeling.run_folder import ADAPTATION, RunFolder, find_run_folder

from ..training.runs import Notes


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gains, "NUM_LINES", 8)
    for module in (adapting, gains):
        monkeypatch.setattr(module, "MAX_BYTES", 1000)
    monkeypatch.setattr(loader, "WINDOW_SEQUENCES", 11)


def test_an_adaptation_is_a_run_folder_with_its_gain(
    recipe: Recipe, base: RunFolder, project: Path, tmp_path: Path
) -> None:
    out, notes = tmp_path / "out", Notes()
    values = adapt(recipe, project, out, progress=notes)
    assert values == json.loads((out / "adaptation.json").read_bytes())
    assert values["project"]["held_out"]["files"] >= 1
    assert values["num_lines"] == len(values["before"]["lines"]) == len(values["after"]["lines"])
    assert values["before"]["bits_per_byte"] != values["after"]["bits_per_byte"]
    assert values["replayed_documents"] == 4
    assert values["identity"]["the weights of training.init"] == sha256_file(
        base.model / "model.safetensors"
    )
    assert len(codeling.load(out).complete("def f(", max_new_tokens=4).ids) <= 4
    card = (out / "model" / "README.md").read_text()
    assert str(base.path) in card
    assert "the licence mit" in card
    assert str(project) not in card
    found = find_run_folder(out / "model")
    assert found is not None
    assert (found.memory / "corpus.safetensors").read_bytes() == b"a table"
    inspected = inspect_model(str(out))
    assert inspected["adaptation"]["before"]["next_line"] == values["before"]["next_line"]
    assert any(line.startswith("adapted from ") for line in as_text(inspected))
    weights = sha256_file(out / "model" / "model.safetensors")
    assert adapt(recipe, project, out, progress=notes) == values
    assert notes.lines[-1] == "the adaptation is finished and unchanged"
    assert sha256_file(out / "model" / "model.safetensors") == weights


class StopInTraining(Notes):
    """Asks to stop when the training begins, so that it ends after a step."""

    def __init__(self, stop: StopRequest) -> None:
        super().__init__()
        self.stop = stop

    def task(
        self, label: str, total: int | None = None, unit: str = "items"
    ) -> AbstractContextManager[Advance]:
        self.stop.requested = label == "training"
        return super().task(label, total, unit)


def test_stopped_and_resumed_ends_in_the_same_bits(
    recipe: Recipe, project: Path, tmp_path: Path
) -> None:
    whole = adapt(recipe, project, tmp_path / "whole")
    stop = StopRequest()
    progress = StopInTraining(stop)
    with pytest.raises(StoppedError, match="the same command continues"):
        adapt(recipe, project, tmp_path / "stopped", progress=progress, stop=stop)
    assert not stop.graceful
    assert not (tmp_path / "stopped" / "adaptation.json").exists()
    notes = Notes()
    resumed = adapt(recipe, project, tmp_path / "stopped", progress=notes)
    assert any(line.startswith("continuing from step") for line in notes.lines)
    assert "measuring the model as it is" not in notes.lines
    for name in ("before", "after"):
        assert resumed[name] == whole[name]
    digests = [
        sha256_file(tmp_path / name / "model" / "model.safetensors")
        for name in ("whole", "stopped")
    ]
    assert digests[0] == digests[1]


def test_a_changed_project_or_setting_starts_again(
    recipe: Recipe, project: Path, tmp_path: Path
) -> None:
    first = adapt(recipe, project, tmp_path / "out")
    assert adapt(recipe, project, tmp_path / "out", 0.75)["settings"]["replay"] == 0.75
    (project / "more.py").write_text("def more(value):\n" + "    value = value + 1\n" * 9)
    notes = Notes()
    again = adapt(recipe, project, tmp_path / "out", progress=notes)
    assert again["identity"] != first["identity"]
    assert any("had other settings or files" in line for line in notes.lines)
    other = shutil.copytree(project, tmp_path / "other")
    (other / "more.py").unlink()
    with pytest.raises(UsageError, match=r"an adaptation to .*project; choose a new folder"):
        adapt(recipe, other, tmp_path / "out")
    kept = json.loads((tmp_path / "out" / ADAPTATION).read_text())
    assert kept["identity"] == again["identity"]


def test_without_a_run_beside_it_the_model_is_adapted_alone(
    recipe: Recipe, base: RunFolder, project: Path, tmp_path: Path
) -> None:
    adapt(recipe, project, tmp_path / "out")
    assert (tmp_path / "out" / "memory").exists()
    alone = base.model.rename(tmp_path / "alone")
    notes = Notes()
    training = recipe.training.model_copy(update={"init": str(alone)})
    values = adapt(
        recipe.model_copy(update={"training": training}), project, tmp_path / "out", progress=notes
    )
    assert values["replayed_documents"] == 0
    assert any("other code may get worse" in line for line in notes.lines)
    assert not (tmp_path / "out" / "memory").exists()


def test_wrong_folders_are_one_line(
    recipe: Recipe, base: RunFolder, project: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="the model would be overwritten"):
        adapt(recipe, project, base.path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="not an adaptation, and not empty"):
        adapt(recipe, project, tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    (tmp_path / "killed").mkdir()
    for name in (".lock", "before.json.partial"):  # as if killed at once
        (tmp_path / "killed" / name).touch()
    assert adapt(recipe, project, tmp_path / "killed")["format"] == adapting.FORMAT
