"""The output at the end of ``run`` and ``demo``: completions, scores, and the report's path."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from codeling.recipe import EvaluationRecipe


def results(folder: Path, settings: "EvaluationRecipe", prompts: Sequence[str]) -> dict[str, Any]:
    """Complete ``prompts`` as the evaluation does, and read the scores of the run."""
    import json
    from dataclasses import asdict

    from codeling.corpus.document import held_out_split, iterate
    from codeling.evaluation.file_example import complete_in_file
    from codeling.generation.engine import Engine
    from codeling.memory.loading import load_memory

    options = settings.options | {"max_new_tokens": 96, "stop_at_block_end": True}
    engine = Engine.load(folder)
    completions = engine.complete_batch(prompts, **options)
    memory = load_memory(folder, engine.tokenizer)
    example = memory and complete_in_file(
        engine,
        memory,
        iterate(folder / "corpus", held_out_split(folder / "corpus", "files"), "files"),
        max_new_tokens=96,
        seed=settings.seed,
    )
    evaluation = json.loads((folder / "evaluation.json").read_bytes())
    return {
        "completions": [
            {"prompt": prompt, "text": samples[0].text}
            for prompt, samples in zip(prompts, completions, strict=True)
        ],
        "in_file": example and asdict(example),
        "bits_per_byte": evaluation["bits_per_byte"]["value"],
        "memory": {row["name"]: row["bits_per_byte"] for row in evaluation["memory"]["rows"]},
        "parse_rate": evaluation["parse_rate"] and evaluation["parse_rate"]["value"],
        "report": str(folder / "report.html"),
    }


def show(results: dict[str, Any]) -> None:
    """Print the completions, the scores and the path of the report."""
    for completion in results["completions"]:
        typer.echo("─" * 72)
        typer.secho(completion["prompt"], nl=False, dim=True)
        typer.echo(completion["text"])
    if example := results["in_file"]:
        typer.echo("─" * 72)
        place = f"{example['repository']}: {example['path']}:{example['line']}"
        typer.secho(f"A function completed in its file, {place}", bold=True)
        for title, key in (
            ("the model alone", "alone"),
            ("with the memory of the file and the corpus", "with_memory"),
            ("in the file", "original"),
        ):
            typer.secho(f"── {title}", dim=True)
            typer.secho(example["head"], nl=False, dim=True)
            typer.echo(example[key].rstrip("\n"))
    typer.echo("─" * 72)
    typer.echo(
        f"test bits per byte  {results['bits_per_byte']:.3f}  (on text that was not trained on)"
    )
    rows = [(name, value) for name, value in results["memory"].items() if "model" in name]
    (_, alone), (most, everything) = rows[0], rows[-1]
    typer.echo(
        f"with the memory     {everything:.3f}  ({most.removeprefix('model + ')}; "
        f"the model alone on the same files: {alone:.3f})"
    )
    if results["parse_rate"] is not None:
        typer.echo(f"parse rate          {results['parse_rate']:.0%}  of completed function bodies")
    typer.echo(f"report              {results['report']}")
