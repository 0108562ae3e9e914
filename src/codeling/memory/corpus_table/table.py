"""The corpus table: next-token proposals from n-grams of up to 5 tokens of the train split.

The table is one memory-mapped safetensors file in ``RUN/memory/``, made from the ids of the train
split alone. So it has nothing that the corpus dropped or replaced: problems of benchmarks, secrets,
documents of an opt-out list, held-out documents. ``docs/formats.md`` describes the tensors.
"""

import json
import threading
from pathlib import Path

import numpy as np

from codeling.arrays.mapped_tensors import map_tensors
from codeling.errors import InputError
from codeling.memory.corpus_table import ngram_lookup
from codeling.memory.corpus_table.trie import NgramTrie, decoded_seen, decoded_weights
from codeling.memory.source import Ids, Proposal, Scores

FILE_NAME = "corpus.safetensors"
FORMAT = 1
SETTINGS_KEY = "codeling.memory"
"""Key of the file's metadata."""


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
        self._decode = decoded_weights()
        self._decode_seen = decoded_seen()
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


def open_table(path: Path) -> CorpusTable:
    """Map the table of ``path``.

    :raises InputError: the file is missing, damaged, or of another version.
    """
    try:
        metadata, tensors = map_tensors(path)
        settings = json.loads(metadata[SETTINGS_KEY])
        if settings["format"] != FORMAT:
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
