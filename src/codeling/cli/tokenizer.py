"""``codeling tokenizer``: train a tokenizer, or compare several.

``codeling tokenizer RECIPE`` runs the stage; ``codeling tokenizer compare`` is a command of its
own. A first argument that is not the name of a command is a RECIPE.
"""

from typing import Any

import typer
from typer.core import TyperGroup

from codeling.cli.stages import AsJson, Out, Overrides, RecipeFile
from codeling.cli.tokenizer_compare import compare
from codeling.cli.usage import Command, DefaultCommand

_STAGE = "RECIPE"


class _StageByDefault(TyperGroup):
    """A group whose default command is the stage."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert the name of the stage unless the first argument names a command."""
        named = {*self.commands, *self.get_help_option_names(ctx)}
        if not args or args[0] not in named:
            args = [_STAGE, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_StageByDefault, context_settings={"help_option_names": ["-h", "--help"]})


@app.command(
    _STAGE, cls=DefaultCommand, short_help="Train the tokenizer of a recipe and encode its corpus."
)
def tokenizer(
    recipe: RecipeFile, overrides: Overrides = None, out: Out = None, as_json: AsJson = False
) -> None:
    """Train the tokenizer of a recipe, and encode its corpus. Builds the corpus first if needed.

    Example:  codeling tokenizer recipes/demo.toml --set tokenizer.vocab_size=8192
    """
    from codeling.cli import stages

    folder = stages.default_folder(recipe, out)
    summary = stages.execute(stages.read(recipe, overrides), folder, until="tokens")
    stages.finish(summary, as_json, [stages.following("train", recipe, overrides, out)])


app.command("compare", cls=Command, short_help="Compare tokenizers on a folder of Python.")(compare)


@app.callback()
def _group() -> None:
    """Train the tokenizer of a recipe and encode its corpus, or compare tokenizers.

    Example:  codeling tokenizer recipes/demo.toml --json
    """
