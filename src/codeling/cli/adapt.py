"""``codeling adapt``: train a model on one project."""

from pathlib import Path
from typing import Annotated, Any

import typer

from codeling.cli.stages import AsJson, Overrides, parse_path
from codeling.quantity import quantity


def adapt(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="Run folder, Hugging Face folder or hf://owner/name."),
    ],
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", parser=parse_path, help="Folder of the project.")
    ],
    minutes: Annotated[
        float, typer.Option(min=0.05, metavar="MINUTES", help="Minutes of training.")
    ] = 5.0,
    replay: Annotated[
        float,
        typer.Option(
            min=0.0, max=0.9, metavar="SHARE", help="Share of the training that is old text."
        ),
    ] = 0.5,
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", parser=parse_path, help="Run folder.", show_default="runs/PROJECT"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a model on one project, with replay of its old data, and print the gain.

    The newest files are held out, and the model is measured on them before and after. An
    interrupted adaptation continues when you run the same command again.

    Example:  codeling adapt runs/demo ~/code/my-project --minutes 5
    """
    from codeling.adaptation.adapting import adapt as run
    from codeling.cli import stages
    from codeling.cli.next_command import next_command
    from codeling.cli.screen import Screen
    from codeling.cli.signals import HANDLER
    from codeling.errors import UsageError
    from codeling.recipe import parse_recipe
    from codeling.run import StopRequest

    _check_overrides(overrides or [])
    name = folder.resolve().name
    if not folder.is_dir():
        reason = "this is a file" if folder.exists() else "there is no such folder"
        raise UsageError(f"{folder}: {reason}; give a project's folder")
    target = out or Path("runs") / (name or "project")
    screen = Screen()
    changes = [f"training.minutes={minutes}", "training.mixture_exponent=0", *(overrides or [])]
    recipe = parse_recipe("", changes, note=screen.note)
    training = recipe.training.model_copy(update={"init": model})
    recipe = recipe.model_copy(update={"training": training})
    stop = StopRequest()
    with HANDLER.resumable(lambda: (target / "checkpoints").exists(), stop):
        values = run(recipe, folder, target, replay, screen, stop)
    serve = next_command("serve", target, options={"--project": str(folder)})
    if not as_json:
        for line in summary(values):
            typer.echo(line)
    stages.finish({"folder": str(target), **values}, as_json, [serve])


def _check_overrides(overrides: list[str]) -> None:
    """:raises UsageError: one of them is a key that the command sets, or that it does not read."""
    from codeling.errors import UsageError

    ours = {
        "training.init": "the model is the argument MODEL",
        "training.minutes": "give --minutes",
        "training.mixture_exponent": "old and new text are mixed by --replay",
    }
    for override in overrides:
        key = override.partition("=")[0].strip()
        table = key.partition(".")[0]
        if key in ours:
            raise UsageError(f"--set {key}: adapt sets it itself; {ours[key]}")
        if table in ("corpus", "tokenizer", "memory", "evaluation"):
            raise UsageError(f"--set {key}: adapt reads only [model] and [training]")


def summary(values: dict[str, Any]) -> list[str]:
    """The gains of the adaptation, for a person."""
    before, after = values["before"], values["after"]
    held_out = values["project"]["held_out"]
    measured = f"{quantity(held_out['bytes'], 'byte')}, {quantity(values['num_lines'], 'line')}"
    files = f"the newest {quantity(held_out['files'], 'file')}, by {values['project']['newest_by']}"
    rows = [
        ("held out", f"{files} ({measured} predicted)"),
        ("next line", gain(values, "next_line")),
        ("with memory", gain(values, "next_line_with_memory")),
        ("this project", _change(before["bits_per_byte"], after["bits_per_byte"])),
        ("other code", _change(before["other_bits_per_byte"], after["other_bits_per_byte"])),
    ]
    return [f"{name:<13} {value}" for name, value in rows]


def gain(values: dict[str, Any], key: str) -> str:
    """The change of a share of lines, with its interval."""
    before, after = (100 * values[when][key] for when in ("before", "after"))
    interval = values[f"{key}_gain_interval_95"]
    shown = ""
    if interval:
        shown = f", 95 % interval {100 * interval[0]:+.1f} to {100 * interval[1]:+.1f}"
    return f"{before:.1f} % -> {after:.1f} % exactly right ({after - before:+.1f} points{shown})"


def _change(before: float, after: float) -> str:
    change = round(100 * (after / before - 1), 1) or 0.0  # never -0.0
    return f"{before:.3f} -> {after:.3f} bits per byte ({change:+.1f} %)"
