"""``codeling run``: all stages of a recipe."""

from typing import TYPE_CHECKING, Annotated

import typer

from codeling.cli.stages import AsJson, Out, Overrides, Ray, RecipeFile
from codeling.quantity import quantity

if TYPE_CHECKING:
    from codeling.recipe import Recipe

SAMPLE_PROMPT = 'def read_lines(path):\n    """Return the lines of a text file."""\n'


def run(
    recipe: RecipeFile,
    overrides: Overrides = None,
    out: Out = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only print parameters, memory, tokens and time."),
    ] = False,
    ray: Ray = None,
    as_json: AsJson = False,
) -> None:
    """Run all stages of a recipe. Stages that are done and unchanged are skipped.

    Example:  codeling run recipes/demo.toml --set model.size=mini
    """
    from codeling.cli import finished_run, stages
    from codeling.cli.next_command import next_command

    values = stages.read(recipe, overrides)
    if dry_run:
        _print_estimate(values, as_json)
        return
    folder = stages.default_folder(recipe, out)
    summary = stages.execute(values, folder, until="report", ray=ray)
    results = finished_run.results(folder, values.evaluation, [SAMPLE_PROMPT])
    if not as_json:
        finished_run.show(results)
    complete = next_command("complete", folder, options={"--prompt": "def "})
    stages.finish({**summary, **results} if as_json else summary, as_json, [complete])


def _print_estimate(recipe: "Recipe", as_json: bool) -> None:
    import json
    from dataclasses import asdict

    from codeling.corpus.sources.listing import max_text_bytes
    from codeling.run import resolve
    from codeling.training.planning.estimate import EXPECTED_UTILISATION, estimate

    resolved = resolve(recipe)
    expected = estimate(resolved, max_text_bytes(resolved.corpus))
    if as_json:
        typer.echo(json.dumps(asdict(expected)))
        return
    minutes = expected.seconds / 60
    length = f"{minutes:,.1f} minutes" if minutes < 120 else f"{minutes / 60:,.1f} hours"
    bits = f"{expected.bits_per_byte:.2f} ± {expected.bits_per_byte_error:.2f} expected"
    if not expected.bits_per_byte_within:
        bits += " (extrapolated beyond the measured runs)"
    if resolved.training.init:
        bits = f"no forecast: the training starts from {resolved.training.init}"
    for name, value in {
        "parameters": f"{expected.num_parameters:,} ({expected.num_block_parameters:,} in blocks)",
        "memory": f"{expected.memory_bytes / 2**30:.2f} GiB on {expected.device}",
        "tokens": f"{expected.num_tokens:,} in {quantity(expected.num_steps, 'step')} of "
        f"{expected.tokens_per_step:,}",
        "operations": f"{expected.flops:.3g}",
        "matrix rate": f"{expected.matrix_flops_per_second / 1e9:,.0f} GFLOP/s in "
        f"{expected.precision}, measured now",
        "time": f"{length} of training at {EXPECTED_UTILISATION:.0%} of that rate",
        "bits per byte": bits,
        "provenance": f"index of {expected.provenance_index}",
    }.items():
        typer.echo(f"{name:<13} {value}")
    if expected.warning:
        typer.echo(expected.warning, err=True)
