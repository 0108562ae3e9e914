"""``[evaluation]``: what is measured on the test split once the model is trained."""

from typing import Any

from pydantic import Field

from codeling.recipe.section import Positive, Section


class EvaluationRecipe(Section):
    """What is measured on the test split once the model is trained."""

    max_bytes: Positive = 1_000_000
    """Text of the test split scored for bits per byte, in an order drawn from ``seed``."""
    completions: int = Field(200, ge=0)
    """Function bodies completed for the parse rate."""
    max_new_tokens: Positive = 192
    """Of each completion."""
    temperature: float = Field(0.2, ge=0)
    """Of each completion; 0 is greedy."""
    prose_temperature: float = Field(1.0, ge=0)
    """Within comments and triple-quoted strings."""
    top_p: float = Field(0.95, gt=0, le=1)
    """Only the likeliest tokens that together have so much."""
    max_repeats: int = Field(3, ge=0)
    """The same tokens may come so many times in a row, short runs more often; 0: no limit."""
    seed: int = Field(0, ge=0)

    @property
    def options(self) -> dict[str, Any]:
        """What is asked of a completion: keywords of an engine's methods."""
        return self.model_dump(exclude={"max_bytes", "completions"})
