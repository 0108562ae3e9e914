"""The tiny recipe and its finished run are those of the command line's tests."""

from ..cli.conftest import finished, recipe_file

__all__ = ["finished", "recipe_file"]
