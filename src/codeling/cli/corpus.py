"""``codeling corpus``: the corpus of a recipe."""

from codeling.cli.stages import AsJson, Out, Overrides, Ray, RecipeFile


def corpus(
    recipe: RecipeFile,
    overrides: Overrides = None,
    out: Out = None,
    ray: Ray = None,
    as_json: AsJson = False,
) -> None:
    """Build the corpus of a recipe: read, filter, deduplicate, split, write Parquet.

    Example:  codeling corpus recipes/demo.toml --out runs/demo
    """
    from codeling.cli import stages

    folder = stages.default_folder(recipe, out)
    summary = stages.execute(stages.read(recipe, overrides), folder, until="corpus", ray=ray)
    stages.finish(summary, as_json, [stages.following("tokenizer", recipe, overrides, out)])
