"""``[memory]``: the memory beside the weights."""

from pydantic import Field

from codeling.recipe.section import Section


class MemoryRecipe(Section):
    """The memory beside the model."""

    corpus_entries: int = Field(8_000_000, ge=0)
    """Maximum number of n-grams in the corpus table, and at most one per 18 bytes of text, so the
    table takes at most 0.4 bytes per byte of the train split. 0: no table."""
