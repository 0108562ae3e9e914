"""Adapt a model to one project: read it, measure, train with replay, interpolate, measure again.

The result is a run folder without a corpus: a model folder, the base run's memory, the token files,
the checkpoints, and ``adaptation.json`` with the scores. A stopped or killed adaptation is
continued by the same call, and ends in the same weights.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from codeling.adaptation.gains import AdaptationScores, Exam, sample_share
from codeling.adaptation.interpolation import MAX_BYTES, interpolate, old_validation_texts
from codeling.adaptation.project_texts import Project, read_project
from codeling.adaptation.replay import REPLAY, write_token_files
from codeling.errors import UsageError, storage_errors
from codeling.export.hugging_face import write_model_folder
from codeling.export.model_card import Ancestor, adapted_card
from codeling.manifest import (
    locked,
    remove_partials,
    sha256_file,
    sync_file,
    sync_folder,
    write_json,
)
from codeling.model.folder import MODEL_FOLDER, fim_spm_rate
from codeling.progress import SILENT, Progress
from codeling.recipe import Recipe
from codeling.run import StopRequest
from codeling.run_folder import ADAPTATION, RunFolder, find_run_folder
from codeling.training.initial_model import InitialModel
from codeling.training.run_training import last_network, model_config, train_run
from codeling.training.tracking.trackers import check_installed

FORMAT = 2
"""Of ``adaptation.json`` and of the scores before."""
_BEFORE = "before.json"
_FIRST = {".lock", f"{_BEFORE}.partial"}
"""What an adaptation that was killed at once may leave."""
_TOKEN_FILES = ("train.bin", "train.json", "validation.bin")


def adapt(
    recipe: Recipe,
    project_folder: Path,
    folder: Path,
    replay: float = REPLAY,
    progress: Progress = SILENT,
    stop: StopRequest | None = None,
) -> dict[str, Any]:
    """Adapt the model ``training.init`` of ``recipe`` to a project, in the run folder ``folder``.

    ``replay`` is the share of the run that is text which the model was trained on before.
    Returns the contents of ``adaptation.json``.

    :raises UsageError: the model or the project cannot be used, or ``folder`` holds other files.
    :raises InputError: the model is damaged.
    :raises BusyError: another process uses ``folder``.
    :raises StoppedError: ``stop`` was set during the training; the state is saved.
    """
    settings, stop = recipe.training, stop or StopRequest()
    check_installed(settings.track)
    assert settings.init is not None, "an adaptation starts from a model"
    initial = InitialModel.load(settings.init, settings.fim_rate)
    recipe = recipe.resolved(initial.shape)
    _check_folder(folder, initial)
    progress.note("reading the project")
    project = read_project(project_folder)
    with locked(folder):
        remove_partials(folder)
        identity = {"project_sha256": project.sha256, **initial.digests}
        chosen = {**_plain(recipe), "replay": replay}
        finished = _read(folder / ADAPTATION)
        if finished:
            if finished["identity"] == identity and finished["settings"] == chosen:
                progress.note("the adaptation is finished and unchanged")
                return finished
            _check_project(folder, finished, project)
            progress.note("the finished adaptation had other settings or files; it is replaced")
        (folder / ADAPTATION).unlink(missing_ok=True)
        base = find_run_folder(initial.folder)
        share = sample_share(settings)
        exam = Exam(project.held_out, initial.folder, settings.seed, share)
        if not exam.places:
            raise UsageError(
                f"{project_folder}: the newest files contain no line of code to measure on"
            )
        measured = {**identity, "share of the sample": f"{share:g}"}
        before = _before(exam, initial, folder, measured, progress)
        num_replayed = _write_tokens(
            project, initial, base, folder, settings.seed, replay, progress
        )
        made_from = {name: sha256_file(folder / "tokens" / name) for name in _TOKEN_FILES}
        stop.graceful = True
        try:
            trained = train_run(
                recipe, initial, folder, made_from, progress, lambda: stop.requested
            )
        finally:
            stop.graceful = False
        kept = _write_model(recipe, initial, project, base, folder, progress)
        _copy_memory(base, initial, folder)
        after = exam.measure(folder / MODEL_FOLDER, progress)
        values = {
            "format": FORMAT,
            "identity": identity,
            "settings": chosen,
            "model": settings.init,
            "project": _project(project),
            "replayed_documents": num_replayed,
            "training": {"steps": trained.num_steps, "tokens": trained.num_tokens,
                         "seconds": trained.seconds},
            "kept_share": kept,
            "num_lines": len(exam.places),
            "before": before.to_json(),
            "after": after.to_json(),
            "next_line_gain_interval_95": exam.difference_interval(
                before.lines, after.lines, settings.seed
            ),
            "next_line_with_memory_gain_interval_95": exam.difference_interval(
                before.lines_with_memory, after.lines_with_memory, settings.seed
            ),
        }  # fmt: skip
        write_json(folder / ADAPTATION, values)
        return values


def _check_folder(folder: Path, initial: InitialModel) -> None:
    """Refuse a folder of something else, and the model's own.

    :raises UsageError: it is one of these.
    """
    if folder.resolve() in initial.folder.resolve().parents:
        raise UsageError(f"{folder}: the model would be overwritten; choose another --out")
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if names - _FIRST and not names & {_BEFORE, ADAPTATION}:
        raise UsageError(
            f"{folder}: not an adaptation, and not empty; choose a new folder with --out"
        )


def _check_project(folder: Path, finished: Mapping[str, Any], project: Project) -> None:
    """:raises UsageError: ``finished`` is the adaptation to a project in another folder."""
    known = Path(finished["project"]["folder"])
    if known.is_absolute() and known != project.folder.resolve():
        raise UsageError(
            f"{folder}: holds an adaptation to {known}; choose a new folder with --out"
        )


def _before(
    exam: Exam, initial: InitialModel, folder: Path, identity: Mapping[str, str], progress: Progress
) -> AdaptationScores:
    """The scores of the model before the adaptation; measured once."""
    found = _read(folder / _BEFORE)
    if found and found["identity"] == identity and len(found["lines"]) == len(exam.places):
        return AdaptationScores.from_json(found)
    progress.note("measuring the model as it is")
    before = exam.measure(initial.folder, progress)
    write_json(folder / _BEFORE, {"format": FORMAT, "identity": identity, **before.to_json()})
    return before


def _write_tokens(
    project: Project,
    initial: InitialModel,
    base: RunFolder | None,
    folder: Path,
    seed: int,
    replay: float,
    progress: Progress,
) -> int:
    initial.tokenizer.save(folder / "tokenizer" / "tokenizer.json")
    number = write_token_files(
        project, initial.tokenizer, base, folder / "tokens", seed, replay, progress
    )
    if not number and replay:
        progress.note(
            "there are no tokens of the model's training to replay: other code may get worse"
        )
    return number


def _write_model(
    recipe: Recipe,
    initial: InitialModel,
    project: Project,
    base: RunFolder | None,
    folder: Path,
    progress: Progress,
) -> float:
    """Write the model folder; returns the share of the new weights in it."""
    config = model_config(recipe, initial.tokenizer.vocab_size, initial)
    origin = Ancestor(initial.address, initial.sha256, initial.license)
    num_bytes = sum(file.num_bytes for file in project.train)
    card = adapted_card(config, origin, len(project.train), num_bytes)
    rate = recipe.training.fim_spm_rate if recipe.training.fim_rate else None
    network = last_network(folder, config)
    before = initial.weights(config.context_length, recipe.training.seed)
    kept = interpolate(
        network,
        {name: torch.from_numpy(tensor) for name, tensor in before.items()},
        initial.tokenizer,
        old_validation_texts(base),
        progress,
        int(sample_share(recipe.training) * MAX_BYTES),
    )
    write_model_folder(
        folder / MODEL_FOLDER,
        network,
        initial.tokenizer,
        card,
        fim_spm_rate(initial.folder) if rate is None else rate,
    )
    return kept


def _copy_memory(base: RunFolder | None, initial: InitialModel, folder: Path) -> None:
    """The base run's memory, which belongs to the tokenizer; an earlier adaptation's is removed.

    :raises StorageError: the folder cannot be written.
    """
    target = RunFolder(folder).memory
    unchanged = initial.tokenizer.digest == initial.own_tokenizer.digest
    with storage_errors(target):
        if target.exists():
            shutil.rmtree(target)
        if base is not None and base.memory.is_dir() and unchanged:
            partial = shutil.copytree(base.memory, target.with_name(f"{target.name}.partial"))
            for path in partial.rglob("*"):
                if path.is_file():
                    sync_file(path)
            partial.replace(target)
            sync_folder(folder)


def _project(project: Project) -> dict[str, Any]:
    return {
        "folder": str(project.folder.resolve()),
        "newest_by": "git" if project.by_git else "time of the last change",
        "train": {
            "files": len(project.train),
            "bytes": sum(file.num_bytes for file in project.train),
        },
        "held_out": {
            "files": len(project.held_out),
            "bytes": sum(file.num_bytes for file in project.held_out),
            "paths": [file.path for file in project.held_out],
        },
    }


def _plain(recipe: Recipe) -> dict[str, Any]:
    found: dict[str, Any] = recipe.model_dump(mode="json", include={"model", "training"})
    return found


def _read(path: Path) -> dict[str, Any]:
    """A file of this module's; empty if it is missing, damaged or of an older version."""
    try:
        values = json.loads(path.read_bytes())
        usable = values["format"] == FORMAT and isinstance(values["identity"], dict)
        return values if usable else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
