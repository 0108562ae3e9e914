"""Shared by the commands that build a run folder: options, execution, and the summary."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from codeling.recipe import Recipe


def parse_path(text: str) -> Path:
    """The path of an option; ``~`` is the home folder, also where the shell has left it.

    :raises UsageError: the path is empty, which would mean this folder, or names no user.
    """
    from codeling.errors import UsageError

    if not text:
        raise UsageError("an empty path was given; the current folder is ./")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{text}: there is no such user; write ./{text} for a folder") from error


RecipeFile = Annotated[
    Path, typer.Argument(metavar="RECIPE", help="Recipe file, such as recipes/demo.toml.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="TABLE.KEY=VALUE", help="Change one value of the recipe. Repeatable."
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Run folder.", metavar="FOLDER", parser=parse_path, show_default="runs/RECIPE"
    ),
]
Ray = Annotated[
    str | None,
    typer.Option("--ray", metavar="ADDRESS", help="Build the corpus on this Ray cluster."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def read(recipe: Path, overrides: list[str] | None) -> "Recipe":
    """Read the recipe and apply the overrides. :raises RecipeError: it is invalid."""
    from codeling.cli.screen import Screen
    from codeling.recipe import read_recipe

    return read_recipe(recipe, overrides or [], note=Screen().note)


def default_folder(recipe: Path, out: Path | None) -> Path:
    """The run folder: ``--out``, or ``runs/`` and the recipe's name."""
    return out or Path("runs") / recipe.stem


def following(command: str, recipe: Path, overrides: list[str] | None, out: Path | None) -> str:
    """The next command for the same recipe and folder."""
    from codeling.cli.next_command import next_command

    folder = str(out) if out else None
    return next_command(command, recipe, options={"--set": overrides, "--out": folder})


def execute(recipe: "Recipe", folder: Path, until: str, ray: str | None = None) -> dict[str, Any]:
    """Run the stages up to ``until``, with progress bars and signal handling.

    Under ``torchrun`` only the leading process returns; the others exit when they are done.

    :raises CodelingError: as the stages do.
    """
    from codeling.cli.screen import Screen
    from codeling.cli.signals import HANDLER
    from codeling.errors import CodelingError
    from codeling.run import StopRequest, run
    from codeling.torchrun import is_follower

    stop = StopRequest()
    with HANDLER.resumable(lambda: _has_results(folder), stop):
        try:
            summary = run(recipe, folder, until=until, progress=Screen(), stop=stop, ray=ray)
        except CodelingError as error:
            if is_follower():  # the leading process reports it
                raise typer.Exit(error.exit_code) from error
            raise
    if is_follower():
        raise typer.Exit
    return summary


def _has_results(folder: Path) -> bool:
    """Whether a stage has finished, so that the same command would skip it."""
    from codeling.errors import InputError
    from codeling.manifest import Manifest

    try:
        return bool(Manifest(folder).stages)
    except (InputError, OSError):
        return False


def finish(summary: dict[str, Any], as_json: bool, next_commands: list[str]) -> None:
    """Print a run's summary: one JSON object, or the folder and the next commands."""
    import json

    if as_json:
        typer.echo(json.dumps(summary, ensure_ascii=False))
        return
    typer.echo(f"done: {summary['folder']}")
    if next_commands:
        typer.echo("next:")
        for command in next_commands:
            typer.echo(f"  {command}")
