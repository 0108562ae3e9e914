"""``codeling demo``: the whole way on the Python that is already on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codeling.cli.stages import AsJson, Overrides

if TYPE_CHECKING:
    from codeling.recipe import EvaluationRecipe

PROMPTS = (
    'def read_json(path):\n    """Return the parsed contents of a JSON file."""\n',
    "import os\nimport sys\n\n\ndef main(argv=None):\n",
    "class Stack:\n    def __init__(self):\n        self.items = []\n\n    def push(self, item):\n",
)


def demo(
    minutes: Annotated[float, typer.Option(min=0.05, help="Time for training.")] = 6.0,
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option(help="The run folder.")] = Path("runs/demo"),
    as_json: AsJson = False,
) -> None:
    """Corpus, tokenizer, training, model and completions from this machine's own Python.

    Stopped at any point, the same command goes on from there.

    Example:  codeling demo --minutes 6
    """
    from codeling.cli import stages
    from codeling.cli.screen import Screen
    from codeling.recipe import parse_recipe

    changes = [f"training.minutes={minutes}", *(overrides or [])]
    recipe = parse_recipe("", changes, note=Screen().note)
    summary = stages.execute(recipe, out, until="report")
    result = _finale(out, recipe.evaluation)
    if as_json:
        stages.finish({**summary, **result}, True, [])
        return
    for completion in result["completions"]:
        typer.echo("─" * 72)
        typer.secho(completion["prompt"], nl=False, dim=True)
        typer.echo(completion["text"])
    typer.echo("─" * 72)
    typer.echo(
        f"test bits per byte  {result['bits_per_byte']:.3f}  (test split: none of it trained on)"
    )
    if result["parse_rate"] is not None:
        typer.echo(f"parse rate          {result['parse_rate']:.0%}  of completed function bodies")
    typer.echo(f"report              {out / 'report.html'}")
    stages.finish(
        summary,
        False,
        [
            f"codeling complete {out} --prompt 'def fibonacci(n):'",
            f"codeling complete {out} --prompt 'def area(r):' | codeling trace {out}",
            f"codeling demo --minutes 30 --out {out}-30",
        ],
    )


def _finale(folder: Path, settings: "EvaluationRecipe") -> dict[str, Any]:
    """The completions shown at the end, sampled as those of the evaluation, and its figures."""
    import json

    from codeling.generation.engine import Engine

    engine = Engine.load(folder)
    written = engine.complete_batch(
        PROMPTS, **(settings.options | {"max_new_tokens": 96, "stop_at_block_end": True})
    )
    evaluation = json.loads((folder / "evaluation.json").read_bytes())
    return {
        "completions": [
            {"prompt": prompt, "text": completions[0].text}
            for prompt, completions in zip(PROMPTS, written, strict=True)
        ],
        "bits_per_byte": evaluation["bits_per_byte"]["value"],
        "parse_rate": evaluation["parse_rate"] and evaluation["parse_rate"]["value"],
    }
