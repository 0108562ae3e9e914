"""The tiny recipe, its finished run and the command are those of the command line's tests."""

from ..cli.conftest import command, finished, recipe_file

__all__ = ["command", "finished", "recipe_file"]
