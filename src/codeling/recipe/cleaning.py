"""``[corpus.near_duplicates]``, ``[corpus.decontamination]``, ``[corpus.redaction]``."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from codeling.recipe.section import Section


class NearDuplicates(Section):
    """Which documents are near-copies of others, of which the best-ranked is kept."""

    enabled: bool = True
    """Drop near-copies (``near_duplicate``), and hold forks on one side of the split."""
    threshold: Annotated[float, Field(gt=0.0, le=1.0)] = 0.7
    """Jaccard similarity of the sets of 5-grams of words from which on two documents are
    near-copies; BigCode's."""


class Decontamination(Section):
    """What a model will be tested on, and must not be trained on."""

    problems: tuple[Path, ...] = ()
    """Problem sets (JSONL, gzipped or not, in HumanEval's columns): documents that hold one of
    their problems are dropped (``contaminated``)."""

    @field_validator("problems")
    @classmethod
    def _at_home(cls, paths: tuple[Path, ...]) -> tuple[Path, ...]:
        return tuple(path.expanduser() for path in paths)


class Redaction(Section):
    """What is replaced by a placeholder."""

    kinds: tuple[Literal["email", "ip_address", "key"], ...] = ("email", "ip_address", "key")
    """E-mail addresses, public IP addresses, secret keys; an empty list redacts nothing."""
    seed: int = Field(0, ge=0)
    """Of which secret gets which placeholder."""
