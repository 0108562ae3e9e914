"""The corpus table: next-token proposals from n-grams of up to 5 tokens of the train split.

The table is one memory-mapped safetensors file in ``RUN/memory/``, made from the ids of the train
split alone. So it has nothing that the corpus dropped or replaced: problems of benchmarks, secrets,
documents of an opt-out list, held-out documents. ``docs/formats.md`` describes the tensors.
"""

import hashlib
import json
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from codeling.arrays.mapped_tensors import map_tensors
from codeling.errors import InputError, storage_errors
from codeling.manifest import replacing, write_json
from codeling.memory import kneser_ney, ngram_lookup
from codeling.memory.counting import BUCKET_KEYS, CorpusTokens, count, max_order
from codeling.memory.kneser_ney import NgramTrie
from codeling.memory.source import Ids, Proposal, Scores
from codeling.progress import SILENT, Progress

FILE_NAME = "corpus.safetensors"
BYTES_PER_ENTRY = 18
"""Minimum bytes of text per n-gram: about 7 bytes are stored for each, so the table takes at most
0.4 bytes per byte of text."""

_FORMAT = 1
_SETTINGS_KEY = "codeling.memory"
_WORK_FOLDER = "unfinished"


class CorpusTable:
    """A :class:`codeling.memory.source.ProposalSource`: the train split's n-grams."""

    def __init__(self, trie: NgramTrie, boundary: int, tokenizer_digest: str = "") -> None:
        """``boundary`` is the id of ``<|endoftext|>``."""
        self.order = len(trie.ids) + 1
        self.vocab_size = len(trie.unigrams)
        self.num_entries = sum(len(ids) for ids in trie.ids)
        self.boundary = boundary
        self.tokenizer_digest = tokenizer_digest
        """Of the tokenizer whose ids the table holds."""
        self._unigrams = trie.unigrams
        self._ids, self._weights = tuple(trie.ids), tuple(trie.weights)
        self._children, self._seen = tuple(trie.children), tuple(trie.seen)
        self._decode = kneser_ney.decoded_weights()
        self._decode_seen = kneser_ney.decoded_seen()
        self._scratch = _Scratch(self.order, self.vocab_size)

    def propose(self, history: Ids) -> Proposal:
        """Propose the token after ``history`` (N,): all that followed one of its last tokens."""
        recent = np.asarray(history[max(0, len(history) - self.order + 1) :], np.int64)
        if len(recent) < self.order - 1 and len(recent) and recent[0] == self.boundary:
            recent = np.concatenate([self._pad(self.order - 1 - len(recent)), recent])
        scratch = self._scratch
        number, rest, longest, node = ngram_lookup.propose(
            recent,
            self._unigrams,
            self._ids,
            self._weights,
            self._children,
            self._decode,
            scratch.arrays,
            scratch.probabilities,
        )
        ids = scratch.proposed[:number].copy()
        probabilities = scratch.probabilities[:number].copy()
        if longest == 0:
            return Proposal(ids, probabilities, rest, 0, 0, 0)
        begin, end = self._children[longest - 1][node : node + 2].tolist()
        num_seen = int(self._decode_seen[self._seen[longest - 1][node]])
        return Proposal(ids, probabilities, rest, min(longest, len(history)), num_seen, end - begin)

    def _pad(self, number: int) -> Ids:
        """Boundaries before a document; the n-grams of its first tokens begin with them."""
        return np.full(number, self.boundary, np.int64)

    def score(self, ids: Ids) -> Scores:
        """:meth:`propose` at each position of a document, ``ids`` (T + 1,)."""
        number = max(0, len(ids) - 1)
        floats = np.empty((3, number), np.float32)
        counts = np.empty((3, number), np.int32)
        top = np.empty(number, np.int64)
        ngram_lookup.score(
            np.concatenate([self._pad(self.order - 2), ids]),
            self._unigrams,
            self._ids,
            self._weights,
            self._children,
            self._seen,
            self._decode,
            self._decode_seen,
            self._scratch.arrays,
            floats,
            counts,
            top,
        )
        order, num_seen, num_distinct = counts
        return Scores(floats[0], floats[1], order, num_seen, num_distinct, top, floats[2])


class _Scratch(threading.local):
    """Working memory of the kernels; each thread has its own."""

    def __init__(self, order: int, vocab_size: int) -> None:
        self.proposed = np.empty(vocab_size, np.int64)
        self.probabilities = np.empty(vocab_size, np.float32)
        nodes, mass = np.empty(order, np.int64), np.zeros(vocab_size)
        self.arrays = nodes, mass, self.proposed


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
        "format": _FORMAT,
        "order": order,
        "vocab_size": tokens.vocab_size,
        "boundary": tokens.boundary,
        "tokenizer": tokenizer_digest,
    }
    with replacing(path) as partial:
        save_file(_tensors(trie), partial, {_SETTINGS_KEY: json.dumps(settings)})
    with storage_errors(work):
        shutil.rmtree(work)
    return open_table(path)


def _prepare(work: Path, tokens: CorpusTokens, order: int, bucket_keys: int) -> None:
    """Keep the work folder of the same count; empty it otherwise."""
    digest = hashlib.sha256(np.ascontiguousarray(tokens.ids).data)
    digest.update(np.asarray(tokens.offsets, "<u8").tobytes())
    settings = [_FORMAT, tokens.vocab_size, tokens.boundary, order, bucket_keys]
    key = {"settings": settings, "sha256": digest.hexdigest()}
    try:
        unchanged = json.loads((work / "key.json").read_bytes()) == key
    except (OSError, ValueError):
        unchanged = False
    if not unchanged:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        write_json(work / "key.json", key)


def _tensors(trie: NgramTrie) -> dict[str, NDArray[Any]]:
    tensors: dict[str, NDArray[Any]] = {"unigrams": trie.unigrams}
    for place, ids in enumerate(trie.ids):
        tensors[f"ids.{place + 2}"] = ids
        tensors[f"weights.{place + 2}"] = trie.weights[place]
        tensors[f"children.{place + 1}"] = trie.children[place]
        tensors[f"seen.{place + 1}"] = trie.seen[place]
    return tensors


def open_table(path: Path) -> CorpusTable:
    """Map the table of ``path``.

    :raises InputError: the file is missing, damaged, or of another version.
    """
    try:
        metadata, tensors = map_tensors(path)
        settings = json.loads(metadata[_SETTINGS_KEY])
        if settings["format"] != _FORMAT:
            raise InputError(f"{path}: a corpus table of version {settings['format']}")
        upper = range(2, settings["order"] + 1)
        trie = NgramTrie(
            tensors["unigrams"],
            [tensors[f"ids.{n}"] for n in upper],
            [tensors[f"weights.{n}"] for n in upper],
            [tensors[f"children.{n - 1}"] for n in upper],
            [tensors[f"seen.{n - 1}"] for n in upper],
        )
        _check(trie, settings["vocab_size"])
        return CorpusTable(trie, settings["boundary"], settings["tokenizer"])
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: damaged, or not a corpus table ({error})") from error


def _check(trie: NgramTrie, vocab_size: int) -> None:
    """Check that every node and id that the trie names exists. :raises ValueError: one does not."""
    sizes = [vocab_size, *(len(ids) for ids in trie.ids)]
    if len(trie.unigrams) != vocab_size:
        raise ValueError("its unigrams are not those of its vocabulary")
    for place, ids in enumerate(trie.ids):
        children = trie.children[place]
        if len(children) != sizes[place] + 1 or len(trie.seen[place]) != sizes[place]:
            raise ValueError("its tensors differ in length")
        if len(trie.weights[place]) != len(ids) or int(children[-1]) != len(ids):
            raise ValueError("its tensors differ in length")
        if children[0] != 0 or (children[1:] < children[:-1]).any():
            raise ValueError("its nodes are not ascending")
        if len(ids) and int(ids.max()) >= vocab_size:
            raise ValueError("it has an id outside its vocabulary")
