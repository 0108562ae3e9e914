"""``codeling train``."""

from codeling.cli.stages import AsJson, Out, Overrides, RecipeFile


def train(
    recipe: RecipeFile, overrides: Overrides = None, out: Out = None, as_json: AsJson = False
) -> None:
    """Train (and all that comes before), and write the model folder. Goes on by itself.

    Example:  codeling train recipes/demo.toml --set training.minutes=20
    """
    from codeling.cli import stages

    folder = stages.default_folder(recipe, out)
    summary = stages.execute(stages.read(recipe, overrides), folder, until="model")
    following = stages.command("run", recipe, overrides, out)
    stages.finish(summary, as_json, [following])
