"""``[[corpus.sources]]``: where the Python comes from, one model per kind of source."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from codeling.recipe.section import Section

COLUMNS = ("content", "repo_name", "path", "copies", "license", "url", "split")
"""Columns of a table of files, by our names."""

CODESEARCHNET = (
    "hf://datasets/code-search-net/code_search_net"
    "@bd0cf261e357a3eb5c8fba490d23ec1a1cd59555/python/*.parquet"
)
"""CodeSearchNet's Python on the Hub: train, validation and test, 457,461 functions."""
CODEPARROT = (
    "hf://datasets/codeparrot/codeparrot-clean"
    "@35a59fb025bc0a102f7d96eac09d145b896d487b/file-*.json.gz"
)
"""codeparrot on the Hub, without its exact copies."""
CODEPARROT_DS = (
    "hf://datasets/huggingface-course/codeparrot-ds-train",
    "hf://datasets/huggingface-course/codeparrot-ds-valid",
)
"""The data-science slice of the Hugging Face course, chapter 7.6: 606,720 and 3,322 files.

At no fixed commit: the course, its notebooks and issues name none.
"""

Weight = Annotated[float, Field(gt=0.0, le=1.0)]
Paths = Annotated[tuple[str, ...], Field(min_length=1)]
FileSplit = Literal["repository", "train", "validation", "test"]
RowSplit = Literal["repository", "published", "train", "validation", "test"]


class Installed(Section):
    """The running interpreter's standard library and installed distributions."""

    kind: Literal["installed"] = "installed"
    weight: Weight = 1.0
    """Share of its documents to sample: :func:`codeling.corpus.filters.subsample.is_sampled`."""
    split: FileSplit = "repository"
    """Split of all its documents; ``repository``: a split by repository, by the recipe's shares."""


class Folder(Section):
    """A folder as one repository; each git checkout below it is another."""

    kind: Literal["folder"]
    path: Path
    """Absolute, relative to the current folder, or beginning with ``~``."""
    weight: Weight = 1.0
    split: FileSplit = "repository"

    @field_validator("path")
    @classmethod
    def _expand_home(cls, path: Path) -> Path:
        return path.expanduser()


class _Rows(Section):
    """A table source: files on this machine or behind a URL, with one document per row."""

    paths: Paths
    """Files, folders or patterns (``*`` within a name, ``**`` across folders), local or beginning
    with ``s3://``, ``hf://datasets/`` or ``https://``. A folder means every ``.jsonl``, ``.json``,
    ``.parquet``, ``.arrow`` and gzipped JSON file in it. A data set that is known by its kind has
    the Hub's own files as default."""
    weight: Weight = 1.0
    split: RowSplit = "repository"
    """Split of its documents: one for all, a new one by repository, or ``published``: that of the
    row's column ``split``, else that in the file's name, as the Hub reads it."""
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
    paths: Paths = (CODESEARCHNET,)
    split: RowSplit = "repository"
    """``published`` is not the default: it splits by file although CodeSearchNet's description says
    by repository, so a project is in several splits."""


class CodeParrot(_Rows):
    """Tables of files in codeparrot's columns."""

    kind: Literal["codeparrot"]
    paths: Paths = (CODEPARROT,)


class CodeParrotDS(_Rows):
    """The pair of tables that chapter 7.6 of the Hugging Face course trains and validates on."""

    kind: Literal["codeparrot-ds"]
    paths: Paths = CODEPARROT_DS
    split: RowSplit = "published"


class FileRows(_Rows):
    """Any table of files; ``columns`` names its columns."""

    kind: Literal["rows"]
    columns: dict[str, str] = Field(default_factory=dict)
    """Our name → the table's name. Ours are ``content`` (required), ``repo_name``, ``path``,
    ``copies``, ``license``, ``url`` and ``split``; one that is not listed keeps our name."""

    @model_validator(mode="after")
    def _check_columns(self) -> "FileRows":
        for name in self.columns:
            if name not in COLUMNS:
                raise ValueError(f"columns: unknown column {name!r}; use {', '.join(COLUMNS)}")
        return self


RowSource = CodeSearchNet | CodeParrot | CodeParrotDS | FileRows
Source = Annotated[
    Installed | Folder | CodeSearchNet | CodeParrot | CodeParrotDS | FileRows,
    Field(discriminator="kind"),
]
SOURCE_KINDS: tuple[type[Section], ...] = (
    *(Installed, Folder, CodeSearchNet, CodeParrot),
    *(CodeParrotDS, FileRows),
)
