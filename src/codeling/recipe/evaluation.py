"""``[evaluation]``: measurements on the test split after training."""

from typing import Any

from pydantic import Field

from codeling.recipe.section import Positive, Section


class EvaluationRecipe(Section):
    """Measurements on the test split after training."""

    max_bytes: Positive = 1_000_000
    """Bytes of the test split scored for bits per byte, in random order given by ``seed``."""
    completions: int = Field(200, ge=0)
    """Number of function bodies completed for the parse rate."""
    max_new_tokens: Positive = 192
    """Maximum number of tokens per completion."""
    temperature: float = Field(0.2, ge=0)
    """Sampling temperature in code; 0 is greedy."""
    prose_temperature: float = Field(1.0, ge=0)
    """Sampling temperature in comments and triple-quoted strings."""
    top_p: float = Field(0.95, gt=0, le=1)
    """Nucleus sampling: keep the smallest set of tokens whose probability exceeds this value."""
    max_repeats: int = Field(3, ge=0)
    """Maximum times a sequence may repeat back to back; short ones more often; 0: unlimited."""
    seed: int = Field(0, ge=0)

    @property
    def options(self) -> dict[str, Any]:
        """Sampling parameters, as keyword arguments of the engine's methods."""
        return self.model_dump(exclude={"max_bytes", "completions"})
