"""Recipes: one TOML file per run, read into frozen models that refuse unknown keys.

Each table has a module; ``reading`` combines them. ``model.size`` sets the values that a recipe
leaves out (:data:`PRESETS`), and :meth:`Recipe.resolved` fills them in. This package must not
import torch, daft or any package of codeling except :mod:`codeling.errors`.
"""

from codeling.recipe.corpus import CorpusRecipe, Take
from codeling.recipe.evaluation import EvaluationRecipe
from codeling.recipe.memory import MemoryRecipe
from codeling.recipe.reading import Recipe, parse_recipe, read_recipe
from codeling.recipe.section import Section
from codeling.recipe.sources import (
    CodeParrot,
    CodeParrotDS,
    CodeSearchNet,
    FileRows,
    Folder,
    Installed,
    RowSource,
    Source,
)
from codeling.recipe.training import (
    PRESETS,
    ModelRecipe,
    PreTokenizerName,
    TokenizerRecipe,
    TrainingRecipe,
)

__all__ = [
    "PRESETS",
    "CodeParrot",
    "CodeParrotDS",
    "CodeSearchNet",
    "CorpusRecipe",
    "EvaluationRecipe",
    "FileRows",
    "Folder",
    "Installed",
    "MemoryRecipe",
    "ModelRecipe",
    "PreTokenizerName",
    "Recipe",
    "RowSource",
    "Section",
    "Source",
    "Take",
    "TokenizerRecipe",
    "TrainingRecipe",
    "parse_recipe",
    "read_recipe",
]
