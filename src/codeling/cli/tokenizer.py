"""``codeling tokenizer``: learn one, or compare several.

``codeling tokenizer RECIPE`` is the stage; ``codeling tokenizer compare`` is a verb of its own. A
first word that is no such verb is the RECIPE.
"""

from typing import Any

import typer
from typer.core import TyperGroup

from codeling.cli.stages import AsJson, Out, Overrides, RecipeFile
from codeling.cli.tokenizer_compare import compare

_STAGE = "RECIPE"


class _StageUnlessNamed(TyperGroup):
    """A group whose verb is the stage where the first argument names none."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the stage's name in front of a recipe or an option of its."""
        named = {*self.commands, *self.get_help_option_names(ctx)}
        if not args or args[0] not in named:
            args = [_STAGE, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_StageUnlessNamed, context_settings={"help_option_names": ["-h", "--help"]})


@app.command(_STAGE, short_help="Learn the tokenizer, and encode the splits.")
def tokenizer(
    recipe: RecipeFile, overrides: Overrides = None, out: Out = None, as_json: AsJson = False
) -> None:
    """Learn the tokenizer (and the corpus before it), and encode the splits.

    Example:  codeling tokenizer recipes/demo.toml --set tokenizer.vocab_size=8192
    """
    from codeling.cli import stages

    folder = stages.default_folder(recipe, out)
    summary = stages.execute(stages.read(recipe, overrides), folder, until="tokens")
    following = stages.command("train", recipe, overrides, out)
    stages.finish(summary, as_json, [following])


app.command("compare")(compare)


@app.callback()
def _group() -> None:
    """Learn a tokenizer from a RECIPE's corpus and encode the splits, or compare tokenizers.

    Example:  codeling tokenizer recipes/demo.toml --json
    """
