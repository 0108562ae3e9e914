"""What the verbs that build a run folder share: their options, and the call."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from codeling.recipe import Recipe

RecipeFile = Annotated[
    Path, typer.Argument(metavar="RECIPE", help="A recipe, as recipes/demo.toml.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="TABLE.KEY=VALUE", help="Change one value of the recipe."),
]
Out = Annotated[
    Path | None, typer.Option(help="The run folder.", show_default="runs/ and the recipe's name")
]
Ray = Annotated[
    str | None,
    typer.Option("--ray", metavar="ADDRESS", help="Build the corpus on this Ray cluster."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, for machines.")]


def read(recipe: Path, overrides: list[str] | None) -> "Recipe":
    """The recipe with its overrides. :raises RecipeError: it is none."""
    from codeling.cli.screen import Screen
    from codeling.recipe import read_recipe

    return read_recipe(recipe, overrides or [], note=Screen().note)


def default_folder(recipe: Path, out: Path | None) -> Path:
    """Where the run goes: ``--out``, or ``runs/`` and the recipe's name."""
    return out or Path("runs") / recipe.stem


def command(verb: str, recipe: Path, overrides: list[str] | None, out: Path | None) -> str:
    """The next verb on the same recipe, as a line for the shell."""
    changes = [word for override in overrides or [] for word in ("--set", override)]
    folder = ["--out", str(out)] if out else []
    return shlex.join(["codeling", verb, str(recipe), *changes, *folder])


def execute(recipe: "Recipe", folder: Path, until: str, ray: str | None = None) -> dict[str, Any]:
    """Run the stages up to ``until`` with a screen and signals.

    Under ``torchrun`` the first process alone comes back; the others end when they are done.

    :raises CodelingError: whatever the stages raise.
    """
    from codeling.cli.screen import Screen
    from codeling.cli.signals import LISTENER
    from codeling.errors import CodelingError
    from codeling.run import StopRequest, is_assisting, run

    stop = StopRequest()
    with LISTENER.heeding(stop):
        try:
            summary = run(recipe, folder, until=until, progress=Screen(), stop=stop, ray=ray)
        except CodelingError as error:
            if is_assisting():  # the first one says it
                raise typer.Exit(error.exit_code) from error
            raise
    if is_assisting():
        raise typer.Exit
    return summary


def finish(summary: dict[str, Any], as_json: bool, next_commands: list[str]) -> None:
    """Print a run's summary: one JSON object, or where it is and what to try next."""
    import json

    if as_json:
        typer.echo(json.dumps(summary, ensure_ascii=False))
        return
    typer.echo(f"done: {summary['folder']}")
    if next_commands:
        typer.echo("next:")
        for command in next_commands:
            typer.echo(f"  {command}")
