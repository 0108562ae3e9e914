"""What a run is made from: one TOML file, read into frozen models that refuse unknown keys.

One file a table; ``reading`` puts them together. One dial, ``model.size``, sets every value that
the recipe leaves out (:data:`PRESETS`); :meth:`Recipe.resolved` fills them in. This package must
not import torch, daft or any other room but :mod:`codeling.errors`.
"""

from codeling.recipe.corpus import CorpusRecipe
from codeling.recipe.evaluation import EvaluationRecipe
from codeling.recipe.reading import Recipe, parse_recipe, read_recipe
from codeling.recipe.section import Section
from codeling.recipe.sources import (
    CodeParrot,
    CodeSearchNet,
    FileRows,
    Folder,
    Installed,
    RowSource,
    Source,
)
from codeling.recipe.training import PRESETS, Cut, ModelRecipe, TokenizerRecipe, TrainingRecipe

__all__ = [
    "PRESETS",
    "CodeParrot",
    "CodeSearchNet",
    "CorpusRecipe",
    "Cut",
    "EvaluationRecipe",
    "FileRows",
    "Folder",
    "Installed",
    "ModelRecipe",
    "Recipe",
    "RowSource",
    "Section",
    "Source",
    "TokenizerRecipe",
    "TrainingRecipe",
    "parse_recipe",
    "read_recipe",
]
