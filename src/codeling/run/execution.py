"""The execution of a run: the order of its stages, and those that are skipped.

A stage is skipped if its settings, inputs and output files are unchanged. Otherwise it runs again,
with every stage that depends on it, and the reason is reported. This module must not know what the
stages do.
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeling import torchrun
from codeling.errors import RecipeError, StoppedError, UsageError
from codeling.manifest import (
    Manifest,
    check_run_folder,
    locked,
    remove_partials,
    write_bytes,
)
from codeling.progress import SILENT, Progress
from codeling.recipe import Recipe
from codeling.recipe.renamed_keys import update_settings
from codeling.run.context import RunContext, StopRequest
from codeling.run.stages import STAGES, Stage, train

if TYPE_CHECKING:
    from codeling.training.initial_model import InitialModel


def run(
    recipe: Recipe,
    folder: Path,
    *,
    until: str = "report",
    progress: Progress = SILENT,
    stop: StopRequest | None = None,
    ray: str | None = None,
) -> dict[str, Any]:
    """Run all stages of ``recipe`` up to ``until`` in ``folder``; skip those already done.

    ``ray`` is the address of a Ray cluster that builds the corpus.
    Returns a summary: the folder and, for each stage, whether it ran, why, and its seconds.

    :raises UsageError: ``until`` is not a stage, the recipe contradicts itself, or ``folder``
        holds files of something else.
    :raises BusyError: another process uses ``folder``.
    :raises StorageError: ``folder`` cannot be written.
    :raises StoppedError: ``stop`` was set; finished stages are kept.
    """
    initial = _initial_model(recipe)
    recipe = _resolve(recipe, initial, folder)
    stop = stop or StopRequest()

    def new_context(progress: Progress) -> RunContext:
        manifest = Manifest(folder, update_settings)
        return RunContext(recipe, folder, progress, manifest, stop, initial, ray)

    if torchrun.is_follower():
        torchrun.follow(lambda: train(new_context(SILENT)))
        return {"folder": str(folder), "stages": {}}
    names = [stage.name for stage in STAGES]
    if until not in names:
        raise UsageError(f"no stage {until!r}; the stages are {', '.join(names)}")
    summary: dict[str, Any] = {"folder": str(folder), "stages": {}}
    check_run_folder(folder)
    with locked(folder):
        context = new_context(progress)
        if not context.manifest.stages:
            context.manifest.write()  # marks the folder as a run folder
        remove_partials(folder)
        write_bytes(folder / "recipe.toml", recipe.to_toml().encode())
        for stage in STAGES[: names.index(until) + 1]:
            if stop.requested:  # the last stage finished before it noticed
                raise StoppedError("stopped between two stages; the same command continues here")
            summary["stages"][stage.name] = _run_stage(stage, context)
        torchrun.signal_followers("no training")
    return summary


def resolve(recipe: Recipe, folder: Path | None = None) -> Recipe:
    """The recipe with all its values, also those of the model that it starts from.

    :raises RecipeError: it contradicts itself or that model, or would overwrite it in ``folder``.
    :raises UsageError: the library of a tracker is missing.
    :raises CodelingError: that model is missing or damaged.
    """
    return _resolve(recipe, _initial_model(recipe), folder)


def _initial_model(recipe: Recipe) -> "InitialModel | None":
    """The model that the training starts from."""
    if recipe.training.init is None:
        return None
    from codeling.training.initial_model import InitialModel

    return InitialModel.load(recipe.training.init, recipe.training.fim_rate)


def _resolve(recipe: Recipe, initial: "InitialModel | None", folder: Path | None) -> Recipe:
    from codeling.training.tracking.trackers import check_installed

    check_installed(recipe.training.track)
    if initial is None:
        return recipe.resolved()
    if folder is not None and folder.resolve() in initial.folder.resolve().parents:
        raise RecipeError(
            f"[training] init: {recipe.training.init} is the model of this run folder and would be "
            "overwritten; choose another folder with --out"
        )
    return recipe.resolved(initial.shape)


def _run_stage(stage: Stage, context: RunContext) -> dict[str, Any]:
    """Run one stage unless its result is still valid."""
    manifest = context.manifest
    settings = _settings(stage, context.recipe)
    inputs = {f"the {name} stage": manifest.digest(name) for name in stage.depends_on}
    inputs.update(stage.fingerprint(context))
    reason = manifest.reason_to_run(stage.name, settings, inputs)
    if reason is None:
        seconds = manifest.stages[stage.name].seconds
        context.progress.note(f"{stage.title}: unchanged, skipped")
        return {"done": False, "reason": None, "seconds": seconds}
    suffix = "" if reason == "not done yet" else f" (again: {reason})"
    context.progress.note(f"{stage.title}{suffix}")
    manifest.invalidate(stage.name)
    start = time.perf_counter()
    outputs = list(stage.execute(context))
    if context.stop.aborted:
        raise StoppedError("stopped; the finished stages are kept")
    seconds = time.perf_counter() - start
    manifest.record(stage.name, settings, inputs, outputs, seconds)
    return {"done": True, "reason": reason, "seconds": round(seconds, 3)}


def _settings(stage: Stage, recipe: Recipe) -> dict[str, Any]:
    """The settings of a stage as ``table.key`` → value."""
    values = recipe.model_dump(mode="json")
    chosen: dict[str, Any] = {}
    for name in stage.settings:
        table, _, key = name.partition(".")
        for each in [key] if key else values[table]:
            if f"{table}.{each}" not in stage.ignored_settings:
                chosen[f"{table}.{each}"] = values[table][each]
    return chosen
