"""Python to measure a model on: the test split of its run, or the standard library."""

import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

from codeling.memory.project_files import read_text
from codeling.run_folder import find_run_folder


def held_out_texts(model_folder: Path, num_bytes: int) -> list[str]:
    """Texts of ``num_bytes`` or a little more, of the test split of the run of a model.

    Without such a run, texts of this interpreter's standard library; the model may have been
    trained on them.
    """
    return _first(_test_split(model_folder), num_bytes) or library_texts(num_bytes)


def library_texts(num_bytes: int) -> list[str]:
    """Texts of the standard library of this interpreter."""
    library = Path(sysconfig.get_paths()["stdlib"])
    return _first(filter(None, map(read_text, sorted(library.glob("*.py")))), num_bytes)


def _test_split(model_folder: Path) -> Iterator[str]:
    run = find_run_folder(model_folder)
    if run is not None and (run.corpus / "test").is_dir():
        from codeling.corpus.document import iterate

        yield from (document.text for document in iterate(run.corpus, "test", "files"))


def _first(texts: Iterable[str], num_bytes: int) -> list[str]:
    found, size = [], 0
    for text in texts:
        found.append(text)
        size += len(text.encode())
        if size >= num_bytes:
            break
    return found
