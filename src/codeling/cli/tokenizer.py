"""``codeling tokenizer``."""

from codeling.cli.stages import AsJson, Out, Overrides, RecipeFile


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
