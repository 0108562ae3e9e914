"""What ``run`` and ``demo`` print at the end: sample completions, scores, and the report's path."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from codeling.recipe import EvaluationRecipe


def results(folder: Path, settings: "EvaluationRecipe", prompts: Sequence[str]) -> dict[str, Any]:
    """Complete ``prompts`` as the evaluation does, and read the scores of the run."""
    import json

    from codeling.generation.engine import Engine

    options = settings.options | {"max_new_tokens": 96, "stop_at_block_end": True}
    completions = Engine.load(folder).complete_batch(prompts, **options)
    evaluation = json.loads((folder / "evaluation.json").read_bytes())
    return {
        "completions": [
            {"prompt": prompt, "text": samples[0].text}
            for prompt, samples in zip(prompts, completions, strict=True)
        ],
        "bits_per_byte": evaluation["bits_per_byte"]["value"],
        "parse_rate": evaluation["parse_rate"] and evaluation["parse_rate"]["value"],
        "report": str(folder / "report.html"),
    }


def show(results: dict[str, Any]) -> None:
    """Print the completions, the scores and the path of the report."""
    for completion in results["completions"]:
        typer.echo("─" * 72)
        typer.secho(completion["prompt"], nl=False, dim=True)
        typer.echo(completion["text"])
    typer.echo("─" * 72)
    typer.echo(
        f"test bits per byte  {results['bits_per_byte']:.3f}  (on text that was not trained on)"
    )
    if results["parse_rate"] is not None:
        typer.echo(f"parse rate          {results['parse_rate']:.0%}  of completed function bodies")
    typer.echo(f"report              {results['report']}")
