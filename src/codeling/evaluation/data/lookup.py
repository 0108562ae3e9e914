"""Find a suite's data: files with the published names, any texts, or the run's test split.

This module must not know models or suites, and measures nothing.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from codeling import hub
from codeling.errors import InputError
from codeling.evaluation.data import datafiles
from codeling.evaluation.data.datafiles import DataFile, Text
from codeling.evaluation.data.document_sample import LocatedText
from codeling.recipe import read_recipe
from codeling.run_folder import RunFolder

Unit = Literal["documents", "functions"]
"""The unit that a suite reads: whole documents, or single functions."""


@dataclass(frozen=True)
class DataSources:
    """The places that a suite may read its data from."""

    by_suite: Mapping[str, str] = field(default_factory=dict)
    """Suite name → file, folder or ``hf://`` address for that suite alone."""
    shared: Sequence[str] = ()
    """Files, folders and addresses in which each suite finds the files with its published names."""
    run: RunFolder | None = None
    """A run folder with a test split."""
    column: str | None = None
    """Column that holds the text in a table of texts."""
    accept_any_name: bool = False
    """Take files from ``shared`` whatever their names: no other suite could mean them."""

    def of(self, suite: str) -> Sequence[str]:
        """The addresses for one suite: its own, else the shared ones."""
        return [self.by_suite[suite]] if suite in self.by_suite else self.shared


@dataclass(frozen=True)
class PublishedFiles:
    """Names of the published files of a problem set."""

    patterns: tuple[str, ...]
    """Name patterns in lower case."""
    excluded: tuple[str, ...] = ()
    """Patterns of another suite's files that ``patterns`` match too."""
    example: str = ""
    """Their source, for the message when nothing was given."""

    def select(self, files: Sequence[DataFile]) -> list[DataFile]:
        """The files with a published name."""
        others = {file.name for file in datafiles.named(files, self.excluded)}
        return [file for file in datafiles.named(files, self.patterns) if file.name not in others]


@dataclass(frozen=True)
class SuiteData:
    """The data of one measurement."""

    name: str
    files: Sequence[DataFile] = ()
    texts: Callable[[], Iterator[LocatedText]] | None = None
    """Held-out texts."""
    training_texts: Callable[[], Iterator[LocatedText]] | None = None
    digest: Mapping[str, Any] = field(default_factory=dict)
    """``sha256`` of all files, and what else identifies them."""


def find_problem_files(suite: str, published: PublishedFiles, sources: DataSources) -> SuiteData:
    """The files of a problem set. :raises InputError: no source has any."""
    for source in sources.of(suite):
        files = datafiles.find(source)
        own = published.select(files)
        if not own and (sources.accept_any_name or suite in sources.by_suite):
            own = [file for file in files if datafiles.is_table(file)] or list(files)
            # A Hub repository holds its splits side by side; the problems are the test split.
            own = datafiles.named(own, ("test*",)) or own
        if own:
            return SuiteData(_files_label(source, own), own, digest=datafiles.digest(own))
    raise InputError(
        f"{suite}: no data; give --data {suite}=FILE with {published.example}, or --data FOLDER "
        "with such a file in it"
    )


def find_texts(suite: str, unit: Unit, sources: DataSources) -> SuiteData:
    """The given texts, or else the run's test split.

    :raises InputError: there are neither texts nor a run folder.
    """
    given = sources.of(suite) if suite in sources.by_suite or sources.accept_any_name else ()
    if not given:
        return find_splits(suite, unit, sources)
    files = [file for source in given for file in datafiles.find(source)]

    def texts() -> Iterator[LocatedText]:
        found = datafiles.texts(files, sources.column)
        return _functions(found) if unit == "functions" else found

    return SuiteData(", ".join(map(_label, given)), texts=texts, digest=_digest(files, sources))


def find_splits(
    suite: str, unit: Unit, sources: DataSources, *, with_training: bool = False
) -> SuiteData:
    """The run's held-out split, ``with_training`` also its training split.

    :raises InputError: there is no run folder.
    """
    from codeling.corpus.document import Table, held_out_split, iterate, parts

    run = sources.run
    if run is None or not run.recipe.is_file():
        raise InputError(
            f"{suite}: this model has no run folder with a test split; "
            f"give --data {suite}=FOLDER, a file, or hf://owner/name"
        )
    train_on: Table = read_recipe(run.recipe).resolved().corpus.train_on
    table: Table = train_on if unit == "documents" else "functions"
    split = held_out_split(run.corpus, table)
    paths = parts(run.corpus, split, table)
    if with_training:
        paths = [*paths, *parts(run.corpus, "train", table)]
    files = [DataFile(path, path.relative_to(run.path).as_posix()) for path in paths]
    return SuiteData(
        f"the run's {split} split",
        files,
        texts=lambda: iterate(run.corpus, split, table),
        training_texts=(lambda: iterate(run.corpus, "train", table)) if with_training else None,
        digest=datafiles.digest(files),
    )


def _files_label(source: str, files: Sequence[DataFile]) -> str:
    if source.startswith(hub.SCHEME) or len(files) > 3:
        return _label(source)
    return ", ".join(Path(file.name).name for file in files)


def _label(source: str) -> str:
    """An address as it is; the last part of a path."""
    return source if source.startswith(hub.SCHEME) else Path(source).expanduser().resolve().name


def _digest(files: Sequence[DataFile], sources: DataSources) -> dict[str, Any]:
    digest, column = datafiles.digest(files), sources.column
    digest["sha256"] = hashlib.sha256(f"{digest['sha256']} {column or ''}".encode()).hexdigest()
    return {**digest, "column": column}


def _functions(texts: Iterator[Text]) -> Iterator[LocatedText]:
    """The functions in each text, with their own line numbers."""
    from codeling.corpus.extract import extract

    for text in texts:
        for function in extract(text.text):
            line = text.start_line + function.start_line - 1
            yield Text(text.repository, text.path, function.text, line)
