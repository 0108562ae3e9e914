"""``codeling train``: the model of a recipe."""

from codeling.cli.stages import AsJson, Out, Overrides, RecipeFile


def train(
    recipe: RecipeFile, overrides: Overrides = None, out: Out = None, as_json: AsJson = False
) -> None:
    """Train the model of a recipe and write the model folder.

    Runs missing stages first. Interrupted training continues from its last checkpoint.

    Example:  codeling train recipes/demo.toml --set training.minutes=20
    """
    from codeling.cli import stages

    folder = stages.default_folder(recipe, out)
    summary = stages.execute(stages.read(recipe, overrides), folder, until="model")
    stages.finish(summary, as_json, [stages.following("run", recipe, overrides, out)])
