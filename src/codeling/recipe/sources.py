"""``[[corpus.sources]]``: the kinds of places that Python comes from, one model a kind."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from codeling.recipe.section import Section

COLUMNS = ("content", "repo_name", "path", "copies", "license", "url")
"""What a table of files may say of a file, under our names."""

Weight = Annotated[float, Field(gt=0.0, le=1.0)]


class Installed(Section):
    """The running interpreter's standard library and installed distributions."""

    kind: Literal["installed"] = "installed"
    weight: Weight = 1.0
    """Share of its documents that is drawn; see :func:`codeling.corpus.filters.subsample.drawn`."""


class Folder(Section):
    """A folder, taken as one repository; git checkouts below it count as their own."""

    kind: Literal["folder"]
    path: Path
    """Absolute, relative to the folder the command is run in, or beginning with ``~``."""
    weight: Weight = 1.0

    @field_validator("path")
    @classmethod
    def _at_home(cls, path: Path) -> Path:
        return path.expanduser()


class _Rows(Section):
    """A source of rows: files on this machine or behind a URL, each with many documents."""

    paths: tuple[str, ...] = Field(min_length=1)
    """Files, folders or patterns (``*`` within a name, ``**`` across folders), on this machine or
    beginning with ``s3://``, ``hf://datasets/`` or ``https://``. Of a folder every ``.jsonl``,
    ``.json``, ``.parquet``, ``.arrow`` and gzipped JSON file is read."""
    weight: Weight = 1.0
    name: str | None = None
    """What the report calls the source; its kind if left out."""

    @field_validator("paths", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return (value,) if isinstance(value, str | Path) else value

    @field_validator("paths")
    @classmethod
    def _at_home(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(Path(p).expanduser()) if p.startswith("~") else p for p in paths)


class CodeSearchNet(_Rows):
    """CodeSearchNet as published, the original JSONL or the Hub's columns: rows are functions."""

    kind: Literal["codesearchnet"]
    split: Literal["repository", "published"] = "repository"
    """``published`` keeps the rows' own split. It is by file, where CodeSearchNet's description
    says by repository, so code of one project is on both sides; hence not the default."""


class CodeParrot(_Rows):
    """Tables of files in codeparrot's columns, JSON lines or Parquet."""

    kind: Literal["codeparrot"]


class FileRows(_Rows):
    """Any table of files, with the names of its columns."""

    kind: Literal["rows"]
    columns: dict[str, str] = Field(default_factory=dict)
    """Our name → the table's. Ours are ``content`` (needed), ``repo_name``, ``path``, ``copies``,
    ``license`` and ``url``; one that is left out is looked for under its own name."""

    @model_validator(mode="after")
    def _known_columns(self) -> "FileRows":
        for name in self.columns:
            if name not in COLUMNS:
                raise ValueError(f"columns: no column {name!r}; there are {', '.join(COLUMNS)}")
        return self


RowSource = CodeSearchNet | CodeParrot | FileRows
Source = Annotated[
    Installed | Folder | CodeSearchNet | CodeParrot | FileRows, Field(discriminator="kind")
]
SOURCE_KINDS: tuple[type[Section], ...] = (Installed, Folder, CodeSearchNet, CodeParrot, FileRows)
