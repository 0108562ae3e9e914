"""Python to measure a model on: the test split of its run, or the standard library."""

import sysconfig
from collections.abc import Iterator
from pathlib import Path

from codeling.memory.project_files import read_text
from codeling.run_folder import find_run_folder


def held_out_texts(model_folder: Path, num_bytes: int) -> list[str]:
    """Texts of ``num_bytes`` or a little more.

    The standard library of this interpreter stands in for a model without a test split; the model
    may have been trained on it.
    """
    texts, size = [], 0
    for text in _texts(model_folder):
        texts.append(text)
        size += len(text.encode())
        if size >= num_bytes:
            break
    return texts


def _texts(model_folder: Path) -> Iterator[str]:
    run = find_run_folder(model_folder)
    if run is not None and (run.corpus / "test").is_dir():
        from codeling.corpus.document import iterate

        yield from (document.text for document in iterate(run.corpus, "test", "files"))
    library = Path(sysconfig.get_paths()["stdlib"])
    yield from filter(None, map(read_text, sorted(library.glob("*.py"))))
