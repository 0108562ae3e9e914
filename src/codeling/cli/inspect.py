"""``codeling inspect``: the contents of a model folder."""

from typing import Annotated

import typer

from codeling.cli.stages import AsJson


def inspect(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="Run folder, Hugging Face folder or hf://owner/name."),
    ],
    as_json: AsJson = False,
) -> None:
    """Print a model's sizes, tokenizer, settings, training data by licence, scores and making.

    Example:  codeling inspect runs/demo
    """
    import json

    from codeling.export.inspection import as_text, inspect_model

    values = inspect_model(model)
    if as_json:
        typer.echo(json.dumps(values, ensure_ascii=False))
        return
    for line in as_text(values):
        typer.echo(line)
