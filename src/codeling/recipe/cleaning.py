"""``[corpus.near_duplicates]``, ``[corpus.decontamination]``, ``[corpus.redaction]``."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from codeling.recipe.section import Section


class NearDuplicates(Section):
    """Near-duplicate removal. The best-ranked document of each cluster is kept."""

    enabled: bool = True
    """Drop near-duplicates (``near_duplicate``), and keep forks on one side of the split."""
    threshold: Annotated[float, Field(gt=0.0, le=1.0)] = 0.7
    """Minimum Jaccard similarity of two documents' sets of word 5-grams; BigCode's value."""


class Decontamination(Section):
    """Removal of documents that contain problems of a benchmark."""

    problems: tuple[Path, ...] = ()
    """Problem sets: JSONL with HumanEval's columns, optionally gzipped. Documents that contain a
    problem are dropped (``contaminated``)."""

    @field_validator("problems")
    @classmethod
    def _expand_user(cls, paths: tuple[Path, ...]) -> tuple[Path, ...]:
        return tuple(path.expanduser() for path in paths)


class Redaction(Section):
    """Replacement of personal data and secrets by placeholders."""

    kinds: tuple[Literal["email", "ip_address", "key"], ...] = ("email", "ip_address", "key")
    """E-mail addresses, public IP addresses and secret keys; an empty list disables redaction."""
    seed: int = Field(0, ge=0)
    """Seed of the mapping from secrets to placeholders."""
