"""Loads the memory that belongs to a model: its own parameters and corpus table, or the defaults.

This module must not know engines or command lines.
"""

from pathlib import Path
from typing import Literal, get_args

from codeling.errors import InputError, UsageError
from codeling.memory.corpus_table import table as corpus_table
from codeling.memory.gating.parameters import DEFAULT, FILE_NAME, load_parameters
from codeling.memory.mixture import MemoryMixture
from codeling.memory.project import ProjectMemory
from codeling.memory.sent_files import SentFiles
from codeling.memory.source import ProposalSource
from codeling.run_folder import RunFolder, find_run_folder
from codeling.tokenizer.tokenizer import Tokenizer

MemoryMode = Literal["auto", "document", "off"]
"""``auto``: the document, the run's corpus if it has a table, and a given project. ``document``:
the document, and a given project. ``off``: the model alone."""


def load_memory(
    model: str | Path,
    tokenizer: Tokenizer,
    mode: str = "auto",
    project: str | Path | None = None,
    open_file: str | Path | None = None,
    open_text: str = "",
    *,
    wait: bool = True,
) -> MemoryMixture | None:
    """The memory for the model at ``model``, or None if ``mode`` is ``off``.

    ``project`` is a folder whose other files are read in the background, ``open_file`` the one
    that is completed, with ``open_text`` in it. With ``wait``, the project has been read on return.

    :raises UsageError: ``mode`` or ``project`` cannot be used.
    :raises InputError: the run's memory is damaged.
    """
    if mode not in get_args(MemoryMode):
        raise UsageError(f"memory is {', '.join(get_args(MemoryMode))}; not {mode!r}")
    if mode == "off":
        if project is not None:
            raise UsageError(
                "a project needs a memory; set memory to auto or document, or leave the project out"
            )
        return None
    run = find_run_folder(model)
    fitted = run.memory / FILE_NAME if run else DEFAULT
    parameters = load_parameters(fitted if fitted.is_file() else DEFAULT)
    found = None
    if project is not None:
        found = ProjectMemory(
            Path(project),
            tokenizer,
            parameters.trust["project"],
            open_path=_inside(project, open_file),
            open_text=open_text,
        )
        if wait:
            found.wait()
    has_gate = "document+corpus" in parameters.gates
    table = load_corpus(run, tokenizer) if mode == "auto" and has_gate else None
    trust = parameters.trust.get("project")
    return MemoryMixture(
        parameters,
        tokenizer.token_bytes,
        corpus=table,
        project=found,
        sent_files=None if trust is None else SentFiles(tokenizer, trust),
    )


def load_corpus(run: RunFolder | None, tokenizer: Tokenizer) -> ProposalSource | None:
    """The corpus table of a run, if it has one.

    :raises InputError: the table is damaged, or belongs to another tokenizer.
    """
    path = run.memory / corpus_table.FILE_NAME if run else None
    if path is None or not path.is_file():
        return None
    table = corpus_table.open_table(path)
    if table.tokenizer_digest != tokenizer.digest:
        raise InputError(f"{path}: made with another tokenizer; run the recipe again")
    return table


def _inside(project: str | Path, file: str | Path | None) -> Path | None:
    """``file`` relative to the project; None if it is elsewhere."""
    if file is None:
        return None
    path, root = Path(file).resolve(), Path(project).resolve()
    return path.relative_to(root) if path.is_relative_to(root) else None
