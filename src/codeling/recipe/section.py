"""What every table of a recipe is made of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0.0, lt=1.0)]
Positive = Annotated[int, Field(gt=0)]


class Section(BaseModel):
    """Base of every table of a recipe: frozen, and no key it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")
