"""What each suite is measured on: the files of its published names, a set of texts, or the run's
own test split. This module must not know models, and measures nothing.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codeling import hub
from codeling.errors import InputError
from codeling.evaluation.data import datafiles
from codeling.evaluation.data.datafiles import DataFile, Text
from codeling.evaluation.data.document_sample import Located
from codeling.evaluation.suites.registry import Suite
from codeling.recipe import read_recipe


@dataclass(frozen=True)
class Data:
    """What a suite is measured on."""

    name: str
    files: Sequence[DataFile] = ()
    texts: Callable[[], Iterator[Located]] | None = None
    training: Callable[[], Iterator[Located]] | None = None
    digest: Mapping[str, Any] = field(default_factory=dict)


def find_data(
    suite: Suite,
    given: Mapping[str, str],
    anywhere: Sequence[str],
    *,
    run: Path | None,
    column: str | None = None,
    alone: bool = False,
) -> Data:
    """What ``suite`` is measured on.

    ``given`` names data for single suites; ``anywhere`` are files, folders and ``hf://`` addresses
    in which each suite finds the files of its published names. A suite that is measured ``alone``
    takes what is there whatever its name. Suites of texts read the test split of the folder
    ``run`` where nothing is given to them, and the ``column`` of a table.

    :raises InputError: there is nothing for this suite.
    """
    if suite.kind == "problems":
        return _problem_files(suite, given, anywhere, alone)
    sources = [given[suite.name]] if suite.name in given else list(anywhere) if alone else []
    if suite.kind != "memorization" and sources:
        files = [file for source in sources for file in datafiles.find(source)]
        functions = suite.kind == "completion"

        def texts() -> Iterator[Located]:
            found = datafiles.texts(files, column)
            return _functions(found) if functions else iter(found)

        return Data(", ".join(map(_short, sources)), texts=texts, digest=_digest(files, column))
    return _test_split(run, suite)


def _problem_files(
    suite: Suite, given: Mapping[str, str], anywhere: Sequence[str], alone: bool
) -> Data:
    for source in [given[suite.name]] if suite.name in given else anywhere:
        files = datafiles.find(source)
        own = datafiles.named(files, suite.patterns)
        others = {file.name for file in datafiles.named(files, suite.not_patterns)}
        own = [file for file in own if file.name not in others]
        if not own and (alone or suite.name in given):
            own = [file for file in files if datafiles.is_table(file)] or list(files)
            # A data set of the Hub holds its splits side by side; the problems are the test split.
            own = datafiles.named(own, ("test*",)) or own
        if own:
            return Data(_names(source, own), own, digest=datafiles.digest(own))
    raise InputError(
        f"{suite.name}: no data; give --data {suite.name}=FILE with {suite.data}, or --data FOLDER "
        "with such a file in it"
    )


def _names(source: str, files: Sequence[DataFile]) -> str:
    """A name for the files taken of ``source``."""
    if source.startswith(hub.SCHEME) or len(files) > 3:
        return _short(source)
    return ", ".join(Path(file.name).name for file in files)


def _short(source: str) -> str:
    """A name for data: an address as it is, a path without its folders."""
    return source if source.startswith(hub.SCHEME) else Path(source).expanduser().resolve().name


def _digest(files: Sequence[DataFile], column: str | None) -> dict[str, Any]:
    found = datafiles.digest(files)
    found["sha256"] = hashlib.sha256(f"{found['sha256']} {column or ''}".encode()).hexdigest()
    return {**found, "column": column}


def _functions(texts: Iterator[Text]) -> Iterator[Located]:
    """The functions within texts, each at its own line."""
    from codeling.corpus.extract import extract

    for text in texts:
        for function in extract(text.text):
            line = text.start_line + function.start_line - 1
            yield Text(text.repository, text.path, function.text, line)


def _test_split(run: Path | None, suite: Suite) -> Data:
    from codeling.corpus.document import Table, iterate, parts

    if run is None:
        raise InputError(
            f"{suite.name}: this model has no run folder with a test split; "
            f"give --data {suite.name}=FOLDER, a file, or hf://owner/name"
        )
    folder = run / "corpus"
    train_on: Table = read_recipe(run / "recipe.toml").resolved().corpus.train_on
    table: Table = train_on if suite.kind == "texts" else "functions"
    paths = parts(folder, "test", table)
    is_copying = suite.kind == "memorization"
    if is_copying:
        paths = [*paths, *parts(folder, "train", table)]
    files = [DataFile(path, path.relative_to(run).as_posix()) for path in paths]
    return Data(
        "the run's test split",
        files,
        texts=lambda: iterate(folder, "test", table),
        training=(lambda: iterate(folder, "train", table)) if is_copying else None,
        digest=datafiles.digest(files),
    )
