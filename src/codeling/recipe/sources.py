"""``[[corpus.sources]]``: where the Python comes from, one model per kind of source."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from codeling.recipe.section import Section

COLUMNS = ("content", "repo_name", "path", "copies", "license", "url")
"""Columns of a table of files, by our names."""

Weight = Annotated[float, Field(gt=0.0, le=1.0)]


class Installed(Section):
    """The running interpreter's standard library and installed distributions."""

    kind: Literal["installed"] = "installed"
    weight: Weight = 1.0
    """Share of its documents to sample: :func:`codeling.corpus.filters.subsample.is_sampled`."""


class Folder(Section):
    """A folder as one repository; each git checkout below it is another."""

    kind: Literal["folder"]
    path: Path
    """Absolute, relative to the current folder, or beginning with ``~``."""
    weight: Weight = 1.0

    @field_validator("path")
    @classmethod
    def _expand_home(cls, path: Path) -> Path:
        return path.expanduser()


class _Rows(Section):
    """A table source: files on this machine or behind a URL, with one document per row."""

    paths: tuple[str, ...] = Field(min_length=1)
    """Files, folders or patterns (``*`` within a name, ``**`` across folders), local or beginning
    with ``s3://``, ``hf://datasets/`` or ``https://``. A folder stands for every ``.jsonl``,
    ``.json``, ``.parquet``, ``.arrow`` and gzipped JSON file in it."""
    weight: Weight = 1.0
    name: str | None = None
    """Name of the source in the report; default: its kind."""

    @field_validator("paths", mode="before")
    @classmethod
    def _as_tuple(cls, value: object) -> object:
        return (value,) if isinstance(value, str | Path) else value

    @field_validator("paths")
    @classmethod
    def _expand_home(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(Path(p).expanduser()) if p.startswith("~") else p for p in paths)


class CodeSearchNet(_Rows):
    """CodeSearchNet as published, original JSONL or the Hub's columns; a row is a function."""

    kind: Literal["codesearchnet"]
    split: Literal["repository", "published"] = "repository"
    """``published`` keeps the rows' own split. It is not the default: it splits by file although
    CodeSearchNet's description says by repository, so a project is in several splits."""


class CodeParrot(_Rows):
    """Tables of files in codeparrot's columns."""

    kind: Literal["codeparrot"]


class FileRows(_Rows):
    """Any table of files; ``columns`` names its columns."""

    kind: Literal["rows"]
    columns: dict[str, str] = Field(default_factory=dict)
    """Our name → the table's name. Ours are ``content`` (required), ``repo_name``, ``path``,
    ``copies``, ``license`` and ``url``; a column that is not listed keeps our name."""

    @model_validator(mode="after")
    def _check_columns(self) -> "FileRows":
        for name in self.columns:
            if name not in COLUMNS:
                raise ValueError(f"columns: unknown column {name!r}; use {', '.join(COLUMNS)}")
        return self


RowSource = CodeSearchNet | CodeParrot | FileRows
Source = Annotated[
    Installed | Folder | CodeSearchNet | CodeParrot | FileRows, Field(discriminator="kind")
]
SOURCE_KINDS: tuple[type[Section], ...] = (Installed, Folder, CodeSearchNet, CodeParrot, FileRows)
