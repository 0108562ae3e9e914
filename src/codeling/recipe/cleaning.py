"""``[corpus.near_duplicates]``, ``[corpus.decontamination]``, ``[corpus.redaction]``."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from codeling.recipe.section import Section


class NearDuplicates(Section):
    """Near-duplicate removal. The best-ranked document of each cluster is kept."""

    enabled: bool = True
    """Drop near-copies (``near_duplicate``), and hold forks on one side of the split."""
    threshold: Annotated[float, Field(gt=0.0, le=1.0)] = 0.7
    """Jaccard similarity of the sets of 5-grams of words from which on two documents are
    near-copies; BigCode's."""


class Decontamination(Section):
    """Removal of documents that contain problems of a benchmark."""

    problems: tuple[Path, ...] = ()
    """Problem sets (JSONL, gzipped or not, in HumanEval's columns): documents that hold one of
    their problems are dropped (``contaminated``)."""

    @field_validator("problems")
    @classmethod
    def _expand_user(cls, paths: tuple[Path, ...]) -> tuple[Path, ...]:
        return tuple(path.expanduser() for path in paths)


class Redaction(Section):
    """Replacement of personal data and secrets by placeholders."""

    kinds: tuple[Literal["email", "ip_address", "key"], ...] = ("email", "ip_address", "key")
    """E-mail addresses, public IP addresses, secret keys; an empty list redacts nothing."""
    seed: int = Field(0, ge=0)
    """Seed of the mapping from secrets to placeholders."""
