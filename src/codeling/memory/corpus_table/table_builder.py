"""Builds the corpus table of a run: counts, chosen and weighed n-grams, and the file.

A build that was killed continues from its counts. What the table is for stands in
:mod:`codeling.memory.corpus_table.table`.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from codeling.errors import storage_errors
from codeling.manifest import prepare_work_folder, replacing
from codeling.memory.corpus_table import kneser_ney
from codeling.memory.corpus_table.counting import BUCKET_KEYS, CorpusTokens, count, max_order
from codeling.memory.corpus_table.table import FORMAT, SETTINGS_KEY, CorpusTable, open_table
from codeling.memory.corpus_table.trie import NgramTrie
from codeling.progress import SILENT, Progress

BYTES_PER_ENTRY = 18
"""Minimum bytes of text per n-gram: about 7 bytes are stored for each, so the table takes at most
0.4 bytes per byte of text."""

_WORK_FOLDER = "unfinished"


def build(
    tokens: CorpusTokens,
    path: Path,
    max_entries: int,
    tokenizer_digest: str,
    workers: int = 1,
    progress: Progress = SILENT,
    bucket_keys: int = BUCKET_KEYS,
) -> CorpusTable:
    """Write the table of at most ``max_entries`` n-grams of order 2 or more to ``path``; open it.

    The bytes do not depend on ``workers`` and ``bucket_keys``. A call that was killed leaves a
    folder ``unfinished`` beside ``path``, from which the next one continues.

    :raises StorageError: the files cannot be written.
    """
    order = max_order(tokens.vocab_size)
    work = path.parent / _WORK_FOLDER
    with storage_errors(work):
        _prepare(work, tokens, order, bucket_keys)
        levels = count(tokens, order, work, workers, progress, bucket_keys)
        trie = kneser_ney.build(levels, tokens.vocab_size, max_entries, workers)
    settings = {
        "format": FORMAT,
        "order": order,
        "vocab_size": tokens.vocab_size,
        "boundary": tokens.boundary,
        "tokenizer": tokenizer_digest,
    }
    with replacing(path) as partial:
        save_file(_tensors(trie), partial, {SETTINGS_KEY: json.dumps(settings)})
    with storage_errors(work):
        shutil.rmtree(work)
    return open_table(path)


def _prepare(work: Path, tokens: CorpusTokens, order: int, bucket_keys: int) -> None:
    """Keep the work folder of the same count; empty it otherwise."""
    digest = hashlib.sha256(np.ascontiguousarray(tokens.ids).data)
    digest.update(np.asarray(tokens.offsets, "<u8").tobytes())
    settings = [FORMAT, tokens.vocab_size, tokens.boundary, order, bucket_keys]
    key = {"settings": settings, "sha256": digest.hexdigest()}
    prepare_work_folder(work, key)


def _tensors(trie: NgramTrie) -> dict[str, NDArray[Any]]:
    tensors: dict[str, NDArray[Any]] = {"unigrams": trie.unigrams}
    for place, ids in enumerate(trie.ids):
        tensors[f"ids.{place + 2}"] = ids
        tensors[f"weights.{place + 2}"] = trie.weights[place]
        tensors[f"children.{place + 1}"] = trie.children[place]
        tensors[f"seen.{place + 1}"] = trie.seen[place]
    return tensors
