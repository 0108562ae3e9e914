"""``codeling demo``: a complete run on the Python that is already on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codeling.cli.stages import AsJson, Overrides, parse_path

if TYPE_CHECKING:
    from codeling.recipe import Recipe

PROMPTS = (
    'def read_json(path):\n    """Return the parsed contents of a JSON file."""\n',
    "import os\nimport sys\n\n\ndef main(argv=None):\n",
    "class Stack:\n    def __init__(self):\n        self.items = []\n\n    def push(self, item):\n",
)


def demo(
    minutes: Annotated[
        float, typer.Option(min=0.05, metavar="MINUTES", help="Minutes of training.")
    ] = 6.0,
    overrides: Overrides = None,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", parser=parse_path, help="Run folder.")
    ] = Path("runs/demo"),
    as_json: AsJson = False,
) -> None:
    """Train a small model on the Python that is already on this machine.

    Builds a corpus, trains a tokenizer and a GPT-2, evaluates it, and prints completions.
    An interrupted demo continues when you run the same command again.

    Example:  codeling demo --minutes 6
    """
    from codeling.cli import finished_run, stages
    from codeling.cli.next_command import next_command, pipe
    from codeling.cli.screen import Screen
    from codeling.recipe import parse_recipe
    from codeling.torchrun import is_follower

    screen = Screen()
    changes = [f"training.minutes={minutes}", *(overrides or [])]
    recipe = parse_recipe("", changes, note=screen.note)
    if not is_follower():
        screen.note(_expectation(recipe))
    summary = stages.execute(recipe, out, until="report")
    results = finished_run.results(out, recipe.evaluation, PROMPTS)
    if not as_json:
        finished_run.show(results)
    area = next_command("complete", out, options={"--prompt": "def area(r):"})
    longer_out = f"{out if out.name else out.resolve()}-longer"
    longer = {"--minutes": f"{5 * minutes:g}", "--set": overrides, "--out": longer_out}
    stages.finish(
        {**summary, **results} if as_json else summary,
        as_json,
        [
            next_command("complete", out, options={"--prompt": "def fibonacci(n):"}),
            pipe(area, next_command("trace", out)),
            next_command("demo", options=longer),
            next_command("serve", out),
        ],
    )


def _expectation(recipe: "Recipe") -> str:
    """The scores to expect on this machine; measured examples from ``docs/results.md``."""
    from codeling.training.machine import choose_device, multiplies_bf16

    device = choose_device(recipe.training.device)
    if device.type != "cpu":
        return f"training on {device.type}"
    measured = {
        False: "two cores without bf16 (AMD Zen 3) reach about 1.47",
        True: "two cores with bf16 (AMD Zen 4) reach about 1.17",
    }
    has_bf16 = multiplies_bf16(device)
    minutes = recipe.training.minutes
    this_run = "" if minutes == 6 or minutes is None else f". This run trains for {minutes:g} min"
    return (
        f"this processor has {'' if has_bf16 else 'no '}bf16. Bits per byte after six minutes of "
        f"training, lower is better: {measured[has_bf16]}, {measured[not has_bf16]}{this_run}"
    )
