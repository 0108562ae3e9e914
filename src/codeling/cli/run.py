"""``codeling run``."""

from typing import TYPE_CHECKING, Annotated

import typer

from codeling.cli.stages import AsJson, Out, Overrides, Ray, RecipeFile

if TYPE_CHECKING:
    from codeling.recipe import Recipe


def run(
    recipe: RecipeFile,
    overrides: Overrides = None,
    out: Out = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print parameters, memory, tokens and time; do nothing."),
    ] = False,
    ray: Ray = None,
    as_json: AsJson = False,
) -> None:
    """Do every stage of a recipe; what is done and unchanged is not done again.

    Example:  codeling run recipes/demo.toml --set model.size=mini --out runs/mini
    """
    from codeling.cli import stages

    values = stages.read(recipe, overrides)
    if dry_run:
        _print_estimate(values, as_json)
        return
    summary = stages.execute(values, stages.default_folder(recipe, out), until="report", ray=ray)
    folder = summary["folder"]
    stages.finish(summary, as_json, [f'codeling complete {folder} --prompt "def "'])


def _print_estimate(recipe: "Recipe", as_json: bool) -> None:
    import json
    from dataclasses import asdict

    from codeling.training.planning.estimate import EXPECTED_UTILISATION, estimate

    expected = estimate(recipe.resolved())
    if as_json:
        typer.echo(json.dumps(asdict(expected)))
        return
    minutes = expected.seconds / 60
    length = f"{minutes:,.1f} minutes" if minutes < 120 else f"{minutes / 60:,.1f} hours"
    bits = f"{expected.bits_per_byte:.2f} ± {expected.bits_per_byte_error:.2f} expected"
    if not expected.bits_per_byte_within:
        bits += ", a guess: far from the runs that were measured"
    for name, value in {
        "parameters": f"{expected.num_parameters:,} ({expected.num_block_parameters:,} in blocks)",
        "memory": f"{expected.memory_bytes / 2**30:.2f} GiB on {expected.device}",
        "tokens": f"{expected.num_tokens:,} in {expected.num_steps:,} steps of "
        f"{expected.tokens_per_step:,}",
        "operations": f"{expected.flops:.3g}",
        "matrix rate": f"{expected.matrix_flops_per_second / 1e9:,.0f} GFLOP/s in "
        f"{expected.precision}, measured now",
        "time": f"{length} of training at {EXPECTED_UTILISATION:.0%} of that rate",
        "bits per byte": bits,
    }.items():
        typer.echo(f"{name:<13} {value}")
