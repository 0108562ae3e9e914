"""The memory of a run: fitted on its validation split, measured on its test split.

The files of a run folder are read here. What is fitted and measured is in
:mod:`codeling.evaluation.memory_scores` and :mod:`codeling.evaluation.memory_gain`.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from codeling.dataset.tokens import open_tokens
from codeling.evaluation.data.document_sample import LocatedText
from codeling.evaluation.memory_gain import measure_memory
from codeling.evaluation.memory_scores import (
    ProjectFile,
    choose_files,
    document_ids,
    encode_files,
    fit_memory,
)
from codeling.generation.engine import Engine
from codeling.memory.gating.parameters import FILE_NAME, load_parameters
from codeling.memory.loading import load_corpus
from codeling.progress import SILENT, Progress
from codeling.run_folder import RunFolder

FIT_TOKENS = 25_000
"""Tokens that the parameters are fitted on: 40,000 give 0.2 % fewer bits per byte, and take half as
long again (docs/log.md)."""
MEASURED_TOKENS = 20_000
"""Tokens that the memory is measured on."""


def fit_run_memory(
    run: RunFolder, documents: Iterable[LocatedText], progress: Progress = SILENT
) -> Path:
    """Fit the parameters on the validation split's ``documents``; returns their file.

    :raises StorageError: it cannot be written.
    """
    engine = Engine.load(run.model, precision="fp32")
    tokens = open_tokens(run.path / "tokens" / "validation.bin")
    files = [
        ProjectFile(
            each.repository, each.path, document_ids(engine.tokenizer, tokens.document(number))
        )
        for number, each in enumerate(documents)
    ]
    parameters = fit_memory(
        engine.model,
        choose_files(files, FIT_TOKENS),
        load_corpus(run, engine.tokenizer),
        engine.tokenizer.vocab_size,
        progress,
    )
    path = run.memory / FILE_NAME
    parameters.save(path)
    return path


def measure_run_memory(
    engine: Engine,
    run: RunFolder,
    documents: Iterable[LocatedText],
    seed: int,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Measure the memory on the test split's ``documents``: ``memory`` in ``evaluation.json``."""
    files = encode_files(engine.tokenizer, documents, seed)
    return measure_memory(
        engine.model,
        engine.tokenizer,
        choose_files(files, MEASURED_TOKENS, seed),
        load_parameters(run.memory / FILE_NAME),
        load_corpus(run, engine.tokenizer),
        progress,
        seed=seed,
    )
